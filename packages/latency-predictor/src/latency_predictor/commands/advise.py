"""`latency-predictor advise`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from latency_predictor.commands import options as o
from mfi_command.cli import Report, Table, command

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from latency_predictor.advice import Advice


@command(
    o.app,
    examples=[
        "latency-predictor advise --model llama-3-8b --device H200 --max-decode-ms 12 --stack vllm",
        "latency-predictor advise --model opt-13b --device A100-80GB --max-ttft-ms 500 --price-per-hour 2.5",
        "latency-predictor advise --model qwen2.5-7b --device H200 --max-decode-ms 10 --output curve.png",
    ],
)
@o.chosen
def advise(
    what: o.Chosen,
    max_decode_ms: Annotated[float | None, typer.Option(help="Limit on a mean decode step.")] = None,
    max_ttft_ms: Annotated[float | None, typer.Option(help="Limit on the prefill of a batch.")] = None,
    prompt: o.Prompt = 512,
    tokens: Annotated[int, typer.Option(help="Tokens to generate.")] = 128,
    largest: Annotated[int, typer.Option(min=1, max=4096, help="Largest batch to try.")] = 256,
    cautious: Annotated[
        bool, typer.Option(help="Hold the upper ends of the intervals to the limits.")
    ] = False,
    price_per_hour: Annotated[
        float | None, typer.Option(help="Of one device: cost per million tokens.")
    ] = None,
) -> Report:
    """The batch with most tokens a second within limits on the step or the first token; exit code 1 if
    none is.
    """
    from latency_predictor.advice import advise as run

    found = run(
        **what.arguments(),
        max_decode_s=None if max_decode_ms is None else max_decode_ms / 1e3,
        max_ttft_s=None if max_ttft_ms is None else max_ttft_ms / 1e3,
        prompt=prompt,
        output=tokens,
        largest=largest,
        cautious=cautious,
        price_per_hour=price_per_hour,
    )
    end = found.curve[-1].batch
    notes = [f"memory ends the curve at batch {end}"] if found.memory_limited else []
    return Report(
        fields=found.to_dict(),
        tables=[_table(found, what.model)],
        notes=[*notes, *found.notes],
        draw=lambda: curve(found),
        over_limit=None if found.best else f"no batch is within the limits on {found.device}",
    )


def _table(found: Advice, model: str) -> Table:
    shown = {found.curve[0].batch, found.curve[-1].batch} | {2**power for power in range(1, 12)}
    if found.best is not None:
        shown.add(found.best.batch)
    priced = found.curve[0].cost_per_million_tokens is not None
    columns = ["batch", "decode ms", "prefill ms", "tokens/s", "cost per 1e6 tokens", "advised"]
    rows = [
        [
            point.batch,
            point.decode_step_s * 1e3,
            point.prefill_s * 1e3,
            point.tokens_per_s,
            *([point.cost_per_million_tokens] if priced else []),
            point is found.best,
        ]
        for point in found.curve
        if point.batch in shown
    ]
    return Table(
        f"{model} on {found.device}, {found.stack}", [c for c in columns if priced or "cost" not in c], rows
    )


def curve(advice: Advice) -> Figure:
    """Throughput against the step that each sequence waits for."""
    from mfi_command import require

    figures: Any = require("matplotlib.figure", extra="plot", distribution="latency-predictor")
    figure: Figure = figures.Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.add_subplot()
    steps = [point.decode_step_s * 1e3 for point in advice.curve]
    lows, highs = (
        [getattr(point, end) * 1e3 for point in advice.curve] for end in ("decode_low_s", "decode_high_s")
    )
    rates = [point.tokens_per_s for point in advice.curve]
    first, last = advice.curve[0].batch, advice.curve[-1].batch
    axes.fill_betweenx(rates, lows, highs, color="#0b6e99", alpha=0.15, label="90 % interval of the step")
    axes.plot(steps, rates, color="#0b6e99", label=f"batch {first} to {last}")
    if advice.max_decode_s is not None:
        axes.axvline(advice.max_decode_s * 1e3, color="#b5451b", ls="--", label="limit")
    if advice.best is not None:
        place = (advice.best.decode_step_s * 1e3, advice.best.tokens_per_s)
        axes.plot(*place, "o", color="#b5451b")
        axes.annotate(
            f"batch {advice.best.batch}", place, xytext=(-8, 8), textcoords="offset points", ha="right"
        )
    axes.set(
        xlabel="decode step, ms",
        ylabel="tokens/s",
        ylim=(0, 1.15 * max(rates)),
        title=f"Batches on {advice.device}",
    )
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncol=3)
    return figure
