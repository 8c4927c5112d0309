"""Which layers can be made low-rank."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfi.report.page import Section
from mfi.report.question import Decided
from mfi.report.stages.stage import Stage, Tick
from mfi_command.report import Table

if TYPE_CHECKING:
    from checkpoint_lens import CausalLM


def compression_stage(question: Decided, model: CausalLM, tick: Tick) -> Stage:
    """Which layers can be made low-rank."""
    from svd_compress import compressibility
    from svd_compress import spectrum as spectra_of
    from svd_compress.figures import decay_figure

    verdicts = compressibility(
        model,
        calibration=question.calibration or "reference:calibration",
        max_loss_rise=question.max_loss_rise,
        tokens=question.tokens,
        seed=question.seed,
        on_progress=tick,
    )
    low_rank = [verdict for verdict in verdicts if verdict.rank is not None]
    sizes = {verdict.name: verdict.shape[0] * verdict.shape[1] for verdict in verdicts}
    saved = sum((1 - verdict.kept) * sizes[verdict.name] for verdict in low_rank) / sum(sizes.values())
    answer = (
        f"{len(low_rank)} of {len(verdicts)} layers have a rank that is predicted to cost less than"
        f" {question.max_loss_rise:g} nats each; together they would save {saved:.1%} of the linear"
        " parameters."
        if low_rank
        else f"None: no allowed rank is predicted to cost less than {question.max_loss_rise:g} nats"
        f" in any of the {len(verdicts)} layers. Leave it dense."
    )
    rows = [
        [
            item.name,
            item.break_even_rank,
            item.rank,
            item.kept,
            item.predicted_loss_rise,
            item.verdict,
        ]
        for item in sorted(verdicts, key=lambda item: (item.rank is None, item.kept))
    ]
    columns = ["layer", "break-even rank", "rank", "kept", "predicted rise, nats/token", "verdict"]
    spectra = spectra_of(question.model)
    return Stage(
        Section(
            id="compression",
            title="What can be made low-rank?",
            answer=answer,
            how=(
                "Whitened truncation of each layer alone; the rise is a second-order prediction on"
                f" {question.tokens} tokens of calibration text, half to factor and half to judge, not"
                " measured: the compress command of svd-compress measures it on text that calibration"
                " never saw. Two full factors save only below break-even; without their redundant block, as"
                " kept here, every rank saves."
            ),
            tables=[Table("Layers, largest saving first", columns, rows)],
            figures=[("Singular values of every layer, with break-even ranks", decay_figure(spectra))],
        ),
        {
            "layers": [item.to_dict() for item in verdicts],
            "saved_linear_parameters": saved,
            "spectra": [
                {key: value for key, value in item.to_dict().items() if key != "decay"} for item in spectra
            ],
        },
    )
