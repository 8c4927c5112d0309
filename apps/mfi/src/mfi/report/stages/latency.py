"""How long a request takes, by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfi.report.page import Section
from mfi.report.question import BATCHES, Decided
from mfi.report.stages.stage import Stage, Tick
from mfi_command import BadInput
from mfi_command.report import Table

if TYPE_CHECKING:
    from checkpoint_lens import CausalLM
    from latency_predictor import Prediction


def latency_stage(question: Decided, model: CausalLM, floor_s: float, tick: Tick) -> tuple[Stage, Prediction]:
    """How long a request takes, by batch; the prediction for one request goes on to the plan."""
    from latency_predictor import predict
    from mfi.report.figures import latency_by_batch

    predictions = []
    stopped = ""
    for done, batch in enumerate(BATCHES):
        try:
            predictions.append(
                (
                    batch,
                    predict(
                        model.config,
                        device=question.device,
                        batch=batch,
                        prompt=question.prompt_tokens,
                        output=question.output_tokens,
                        stack=question.stack,
                        dtype=question.dtype,
                    ),
                )
            )
        except BadInput as refusal:
            if not predictions:
                raise
            stopped = f" Batch {batch} is refused: {refusal}."
            break
        tick(done + 1, len(BATCHES))
    one = predictions[0][1]
    columns = ["batch", "prefill, ms", "decode step, ms", "request, s", "90 % interval, s", "tokens/s"]
    rows = [
        [
            batch,
            item.prefill_s * 1e3,
            item.decode_step_s * 1e3,
            item.total_s,
            f"{item.low_s:.3g} to {item.high_s:.3g}",
            item.tokens_per_s,
        ]
        for batch, item in predictions
    ]
    figure = latency_by_batch(
        [batch for batch, _ in predictions],
        [item.decode_step_s for _, item in predictions],
        [item.decode.low_s for _, item in predictions],
        [item.decode.high_s for _, item in predictions],
        [item.tokens_per_s for _, item in predictions],
    )
    return Stage(
        Section(
            id="latency",
            title="How long does a request take?",
            answer=(
                f"{question.prompt_tokens} tokens in, {question.output_tokens} out, alone on"
                f" {question.device} ({question.stack}): {one.total_s:.3g} s, between {one.low_s:.3g} and"
                f" {one.high_s:.3g}; a decode step takes {one.decode_step_s * 1e3:.3g} ms,"
                f" {one.decode_step_s / floor_s:.3g} times its floor.{stopped}"
            ),
            how=_how(one),
            tables=[Table("By batch", columns, rows)],
            figures=[("Decode step and throughput by batch", figure)],
        ),
        {"by_batch": [{"batch": batch, **item.to_dict()} for batch, item in predictions]},
    ), one


def _how(prediction: Prediction) -> str:
    return (
        "Each operator takes launch, compute and bytes at efficiencies fitted on measurements; the 90 %"
        " interval comes from measurements of models left out of the fit. Queueing, tokenisation and"
        f" scheduling are not in it. Noted: {'; '.join((prediction.provenance, *prediction.notes))}."
    )
