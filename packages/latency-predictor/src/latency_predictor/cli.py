"""The command `latency-predictor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mfi_command.cli import Report, Table, command, create_app, entry_point

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from latency_predictor.advice import Advice

app = create_app(
    "latency-predictor",
    distribution="latency-predictor",
    summary="How long a request takes on a device, with an interval.",
)
ModelOption = Annotated[
    str, typer.Option("--model", help="A name (opt-30b), a config.json, or a folder with one.")
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="One of `roofline devices`, or a .json of `roofline measure`.")
]
Prompt = Annotated[int, typer.Option(help="Tokens of each prompt.")]
Stack = Annotated[str, typer.Option(help="cuda-graph, vllm or eager.")]
Dtype = Annotated[str, typer.Option(help="Of arithmetic and activations.")]
WeightDtype = Annotated[str, typer.Option(help="Of the stored matrices, if not the same.")]
KvDtype = Annotated[str, typer.Option(help="Of the key-value cache, if not the same.")]


@command(
    app,
    examples=[
        "latency-predictor predict --model opt-30b --device A100-80GB --batch 1 --prompt 512 --output 128",
        "latency-predictor predict --model llama-3-8b --device H100 --batch 16 --stack vllm --json",
        "latency-predictor predict --model ./config.json --device L4 --weight-dtype int4",
    ],
)
def predict(
    model: ModelOption,
    device: DeviceOption,
    batch: Annotated[int, typer.Option(help="Sequences at once.")] = 1,
    prompt: Prompt = 512,
    output: Annotated[int, typer.Option(help="Tokens to generate.")] = 128,
    stack: Stack = "cuda-graph",
    dtype: Dtype = "bf16",
    weight_dtype: WeightDtype = "",
    kv_dtype: KvDtype = "",
) -> Report:
    """Latency of a batch of equal requests: prefill, decode step, total, with a 90 % interval."""
    from latency_predictor.prediction import predict as run

    found = run(
        model,
        device=device,
        batch=batch,
        prompt=prompt,
        output=output,
        stack=stack,
        dtype=dtype,
        weight_dtype=weight_dtype or None,
        kv_dtype=kv_dtype or None,
    )
    summary = [
        ["prefill (time to first token)", *_ms(found.prefill)],
        ["decode step", *_ms(found.decode)],
        ["total", found.total_s * 1e3, found.low_s * 1e3, found.high_s * 1e3],
    ]
    parts = [[part.phase, part.name, part.count, part.time_s * 1e3] for part in found.breakdown]
    return Report(
        fields=found.to_dict(),
        tables=[
            Table("Where the time goes", ["phase", "operator", "count", "ms"], parts),
            Table(f"{model} on {found.device}, {stack}", ["", "ms", "low (5 %)", "high (95 %)"], summary),
        ],
        notes=[
            f"{found.tokens_per_s:.4g} tokens/s; weights and cache {found.memory_bytes / 1e9:.4g} GB",
            found.provenance,
            *found.notes,
        ],
    )


def _ms(phase: Any) -> list[float]:
    return [phase.time_s * 1e3, phase.low_s * 1e3, phase.high_s * 1e3]


@command(
    app,
    examples=["latency-predictor advise --model llama-3-8b --device H100 --max-decode-ms 20 --stack vllm"],
)
def advise(
    model: ModelOption,
    device: DeviceOption,
    max_decode_ms: Annotated[float, typer.Option(help="Limit on a mean decode step.")],
    prompt: Prompt = 512,
    tokens: Annotated[int, typer.Option(help="Tokens to generate.")] = 128,
    largest: Annotated[int, typer.Option(min=1, max=4096, help="Largest batch to try.")] = 256,
    cautious: Annotated[bool, typer.Option(help="Hold the upper end of the interval to the limit.")] = False,
    stack: Stack = "cuda-graph",
    dtype: Dtype = "bf16",
    weight_dtype: WeightDtype = "",
    kv_dtype: KvDtype = "",
) -> Report:
    """The batch with most tokens a second whose decode step keeps the limit; exit code 1 if none does."""
    from latency_predictor.advice import advise as run

    found = run(
        model,
        device=device,
        max_decode_s=max_decode_ms / 1e3,
        prompt=prompt,
        output=tokens,
        largest=largest,
        cautious=cautious,
        stack=stack,
        dtype=dtype,
        weight_dtype=weight_dtype or None,
        kv_dtype=kv_dtype or None,
    )
    shown = {1, found.curve[-1].batch} | {2**power for power in range(1, 12)}
    if found.best is not None:
        shown.add(found.best.batch)
    rows = [
        [
            point.batch,
            point.decode_step_s * 1e3,
            point.prefill_s * 1e3,
            point.tokens_per_s,
            point is found.best,
        ]
        for point in found.curve
        if point.batch in shown
    ]
    columns = ["batch", "decode ms", "prefill ms", "tokens/s", "advised"]
    end = found.curve[-1].batch
    notes = [f"memory ends the curve at batch {end}"] if found.memory_limited else []
    over = None if found.best else f"no batch keeps {max_decode_ms:.4g} ms a step on {found.curve[0].device}"
    return Report(
        fields=found.to_dict(),
        tables=[Table(f"{model} on {found.curve[0].device}, {stack}", columns, rows)],
        notes=notes,
        draw=lambda: _curve(found),
        over_limit=over,
    )


def _curve(advice: Advice) -> Figure:
    from mfi_command import require

    figures: Any = require("matplotlib.figure", extra="plot", distribution="latency-predictor")
    figure: Figure = figures.Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.add_subplot()
    steps = [point.decode_step_s * 1e3 for point in advice.curve]
    lows, highs = (
        [getattr(point.decode, end) * 1e3 for point in advice.curve] for end in ("low_s", "high_s")
    )
    rates = [point.tokens_per_s for point in advice.curve]
    axes.fill_betweenx(rates, lows, highs, color="#0b6e99", alpha=0.15, label="90 % interval of the step")
    axes.plot(steps, rates, color="#0b6e99", label="batch 1 to " + str(advice.curve[-1].batch))
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
        title=f"Batches on {advice.curve[0].device}",
    )
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncol=3)
    return figure


@command(
    app, examples=["latency-predictor fit rows.csv", "latency-predictor fit rows.json --phase decode --json"]
)
def fit(
    rows: Annotated[
        Path, typer.Argument(metavar="ROWS", help="A CSV or JSON with model, batch, prompt, latency_s.")
    ],
    phase: Annotated[str, typer.Option(help="Only rows of this phase.")] = "",
) -> Report:
    """The linear baseline alpha M + beta C + gamma B + delta, and its error on models left out."""
    from latency_predictor.baseline import fit as run
    from latency_predictor.baseline import read_rows

    found = run(read_rows(rows, phase=phase)).to_dict()
    alpha, beta, gamma, delta = found["coefficients"].values()
    table = [[key, found[key]] for key in found if key != "coefficients"]
    return Report(
        fields=found,
        tables=[Table("Linear baseline", ["", "value"], table)],
        notes=[f"seconds = {alpha:.4g} M + {beta:.4g} C + {gamma:.4g} B + {delta:.4g} (M in 1e9 parameters)"],
    )


main = entry_point(app)
