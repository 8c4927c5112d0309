"""The command quant-risk-analyzer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mfi_command.cli import Model, Report, Seed, Table, command, create_app, entry_point, progress

if TYPE_CHECKING:
    from quant_risk_analyzer.ratings import Thresholds
    from quant_risk_analyzer.report import RiskReport

app = create_app(
    "quant-risk-analyzer",
    distribution="quant-risk-analyzer",
    summary="Which layers of a model can be quantized, rated by the damage it would do.",
)

Formats = Annotated[
    str, typer.Option("--formats", help="Number formats, comma-separated: int8, int4, int3, ...")
]
Layers = Annotated[str, typer.Option("--layers", help="Glob of layer names.")]
GroupSize = Annotated[
    str, typer.Option("--granularity", help="Weights that share a scale: tensor, channel, or a group size.")
]
Calibration = Annotated[
    str | None,
    typer.Option(
        help="Text file, or reference:KIND, to run the model on. Without it: the model's own samples."
    ),
]
Tokens = Annotated[int, typer.Option(min=64, help="Tokens to run: more narrow the interval.")]


@command(
    app,
    examples=[
        "quant-risk-analyzer rate reference",
        "quant-risk-analyzer rate ./my-model --formats int4,int3 --calibration sample.txt -o risk.html",
        "quant-risk-analyzer rate ./my-model --formats int4 --fail-on C",
    ],
)
def rate(
    model: Model,
    formats: Formats = "int8,int4",
    calibration: Calibration = None,
    granularity: GroupSize = "channel",
    layers: Layers = "*",
    tokens: Tokens = 4096,
    safe: Annotated[float, typer.Option(help="Grade A below this risk, nats per token.")] = 1e-3,
    risky: Annotated[float, typer.Option(help="Grade C above this risk, nats per token.")] = 1e-2,
    fail_on: Annotated[
        str | None, typer.Option(help="Exit with 1 when a layer has this grade or a worse one: B or C.")
    ] = None,
    seed: Seed = 0,
) -> Report:
    """Rate each layer A, B or C by the damage that quantizing it would do."""
    from quant_risk_analyzer.gate import check_grade, over_limit
    from quant_risk_analyzer.plot import draw_risks
    from quant_risk_analyzer.ratings import Thresholds

    limits = Thresholds(safe=safe, risky=risky)
    check_grade(fail_on)
    report = _rated(model, formats, calibration, granularity, layers, tokens, limits, seed)
    return Report(
        fields=report.to_dict(),
        tables=[_risk_table(report, name) for name in report.formats],
        notes=[
            str(report.summary["text"]),
            f"From {report.tokens} tokens ({report.tier}), {report.probes} label draws each; confidence in "
            f"the order: {report.confidence}. A below {limits.safe:g}, C above {limits.risky:g} nats/token.",
        ],
        draw=lambda: draw_risks(report),
        over_limit=over_limit(report, fail_on),
    )


def _rated(
    model: str,
    formats: str,
    calibration: str | None,
    granularity: str,
    layers: str,
    tokens: int,
    limits: Thresholds | None,
    seed: int,
) -> RiskReport:
    from checkpoint_lens import read_text
    from quant_risk_analyzer.risk import rate as compute

    text = None if calibration is None else read_text(calibration)
    with progress("risk") as tick:
        return compute(
            model,
            formats=formats,
            calibration=text,
            granularity=granularity,
            layers=layers,
            tokens=tokens,
            thresholds=limits,
            seed=seed,
            on_progress=tick,
        )


def _risk_table(report: RiskReport, name: str) -> Table:
    columns = ["layer", "shape", "rating", "risk", "low", "high", "SNR dB", "drift", "why"]
    ordered = sorted(report.layers, key=lambda layer: -layer.formats[name].risk)
    return Table(
        f"{name}: risk in nats per token, largest first",
        columns,
        [
            [
                layer.name,
                "x".join(str(extent) for extent in layer.shape),
                found.rating,
                found.risk,
                found.risk_low,
                found.risk_high,
                found.snr_db,
                found.drift,
                found.reasons[0],
            ]
            for layer in ordered
            for found in [layer.formats[name]]
        ],
    )


@command(app, examples=["quant-risk-analyzer measure reference --text reference:in-domain --formats int4"])
def measure(
    model: Model,
    text: Annotated[
        str,
        typer.Option(help="Text file (or reference:KIND) to evaluate on, not the one used for calibration."),
    ],
    formats: Formats = "int4",
    granularity: GroupSize = "channel",
    layers: Layers = "*",
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens to score at most.")] = 2048,
    context: Annotated[int, typer.Option(min=1, help="Length of a window in tokens.")] = 256,
) -> Report:
    """Quantize one layer at a time and measure the loss and the KL of the logits."""
    from checkpoint_lens import read_text
    from quant_risk_analyzer.truth import measure as compute

    with progress("measuring") as tick:
        found = compute(
            model,
            read_text(text),
            formats=formats,
            granularity=granularity,
            layers=layers,
            max_tokens=max_tokens,
            context=context,
            on_progress=tick,
        )
    rows = [
        [each.name, each.format, each.kl, each.kl_stderr, each.loss_increase, each.loss_increase_stderr]
        for each in sorted(found.layers, key=lambda each: -each.kl)
    ]
    return Report(
        fields=found.to_dict(),
        tables=[
            Table(
                "Damage in nats per token, one layer quantized at a time",
                ["layer", "format", "KL", "+-", "loss increase", "+-"],
                rows,
            )
        ],
        notes=[f"Loss of the untouched model: {found.loss:.4f} nats per token over {found.tokens} tokens."],
    )


@command(app, examples=["quant-risk-analyzer allocate reference --average-bits 4.5"])
def allocate(
    model: Model,
    average_bits: Annotated[float, typer.Option(min=0, help="Bits per weight, scales included.")],
    formats: Formats = "int3,int4,int5,int6,int8",
    calibration: Calibration = None,
    granularity: GroupSize = "channel",
    layers: Layers = "*",
    tokens: Tokens = 4096,
    fused: Annotated[
        bool, typer.Option(help="One format for q, k, v of a block and for gate, up: runtimes fuse them.")
    ] = True,
    seed: Seed = 0,
) -> Report:
    """Choose a format for each layer under a budget of bits."""
    from quant_risk_analyzer.allocation import allocate as compute

    report = _rated(model, formats, calibration, granularity, layers, tokens, None, seed)
    found = compute(report, average_bits=average_bits, fused=fused)
    rows = [[layer.name, found.assignment[layer.name]] for layer in report.layers]
    return Report(
        fields=found.to_dict(),
        tables=[Table("Format of each layer", ["layer", "format"], rows)],
        notes=[
            f"{found.average_bits:.3f} bits per weight with scales; predicted rise of the loss "
            f"{found.predicted_loss_increase:.3g} nats per token; nothing within the budget is below "
            f"{found.lower_bound:.3g}."
        ],
    )


@command(app, examples=["quant-risk-analyzer drift reference --formats int8,int4"])
def drift(
    model: Model,
    formats: Formats = "int8,int4",
    granularity: GroupSize = "channel",
    layers: Layers = "*",
) -> Report:
    """Drift of the singular values, predicted from the step and measured."""
    from quant_risk_analyzer.drift import LIMIT, drifts

    with progress("spectra") as tick:
        found = drifts(model, formats=formats, granularity=granularity, layers=layers, on_progress=tick)
    rows = [[each.name, each.format, each.predicted, each.measured, each.exceeds] for each in found]
    return Report(
        fields={"layers": [each.to_dict() for each in found]},
        tables=[
            Table(
                "Largest relative change over the top half of the singular values",
                ["layer", "format", "predicted", "measured", f"over {LIMIT:.0%}"],
                rows,
            )
        ],
    )


main = entry_point(app)

if __name__ == "__main__":
    main()
