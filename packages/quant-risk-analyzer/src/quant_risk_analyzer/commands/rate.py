"""`quant-risk-analyzer rate`: a grade for each layer and format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mfi_command.cli import Model, Report, Seed, Table, command
from quant_risk_analyzer.commands.application import Calibration, Formats, GroupSize, Layers, Tokens, app
from quant_risk_analyzer.commands.rating import rated

if TYPE_CHECKING:
    from quant_risk_analyzer.report import RiskReport


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
    report = rated(model, formats, calibration, granularity, layers, tokens, limits, seed)
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
