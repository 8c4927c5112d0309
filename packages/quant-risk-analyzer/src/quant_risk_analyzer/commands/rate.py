"""`quant-risk-analyzer rate`: a grade for each layer and format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mfi_command.cli import Model, Report, Seed, Table, command, progress
from quant_risk_analyzer.commands.application import (
    By,
    Calibration,
    FailOn,
    Formats,
    GroupSize,
    Layers,
    Risky,
    Safe,
    Tokens,
    app,
)
from quant_risk_analyzer.commands.rating import rated

if TYPE_CHECKING:
    from quant_risk_analyzer.ratings import Thresholds
    from quant_risk_analyzer.report import RiskReport
    from quant_risk_analyzer.verification import Verification

Verify = Annotated[
    int,
    typer.Option(min=0, help="Quantize this many layers for real and print the rank correlation achieved."),
]
Evaluate = Annotated[
    str | None,
    typer.Option(help="Text to verify on, unseen by the rating. Without it: fresh samples of the model."),
]

WeightsOnly = Annotated[
    bool,
    typer.Option("--weights-only", help="From the weights alone, read one at a time: fast, ranks poorly."),
]


@command(
    app,
    examples=[
        "quant-risk-analyzer rate reference",
        "quant-risk-analyzer rate ./my-model --formats int4,int3 --calibration sample.txt -o risk.html",
        "quant-risk-analyzer rate ./my-model --formats int4 --fail-on C",
        "quant-risk-analyzer rate reference --formats int4 --verify 8 --evaluate reference:in-domain",
        "quant-risk-analyzer rate ./my-model --weights-only",
    ],
)
def rate(
    model: Model,
    formats: Formats = "int8,int4",
    calibration: Calibration = None,
    granularity: GroupSize = "channel",
    layers: Layers = "*",
    tokens: Tokens = 4096,
    safe: Safe = 1e-3,
    risky: Risky = 1e-2,
    by: By = "risk",
    fail_on: FailOn = None,
    verify: Verify = 0,
    evaluate: Evaluate = None,
    weights_only: WeightsOnly = False,
    seed: Seed = 0,
) -> Report:
    """Rate each layer A, B or C by the damage that quantizing it would do."""
    from quant_risk_analyzer.gate import check_grade, over_limit
    from quant_risk_analyzer.page import provenance, to_page
    from quant_risk_analyzer.plot import draw_risks
    from quant_risk_analyzer.ratings import Thresholds

    limits = Thresholds(safe=safe, risky=risky, by=by)
    check_grade(fail_on)
    _check_texts(calibration, evaluate, verify)
    if weights_only:
        report = _from_weights(model, formats, calibration, verify, granularity, layers, limits)
    else:
        report = rated(model, formats, calibration, granularity, layers, tokens, limits, seed)
    check = _verified(model, report, verify, calibration, evaluate) if verify else None
    return Report(
        fields={**report.to_dict(), **({"verification": check.to_dict()} if check else {})},
        tables=[_risk_table(report, name) for name in report.formats],
        notes=[
            str(report.summary["text"]),
            *(f"No confidence in the order: {each}." for each in report.caveats),
            provenance(report),
            _limits(limits),
            *(_sentences(check) if check else ()),
        ],
        draw=lambda: draw_risks(report),
        page=lambda: to_page(report, f"Quantization risk of {model}"),
        over_limit=over_limit(report, fail_on),
    )


def _from_weights(
    model: str,
    formats: str,
    calibration: str | None,
    verify: int,
    granularity: str,
    layers: str,
    limits: Thresholds,
) -> RiskReport:
    from mfi_command import BadInput
    from quant_risk_analyzer.weights_only import rate_weights

    if calibration is not None or verify:
        raise BadInput("--weights-only runs no model: leave out --calibration and --verify")
    with progress("weights") as tick:
        return rate_weights(
            model,
            formats=formats,
            granularity=granularity,
            layers=layers,
            thresholds=limits,
            on_progress=tick,
        )


def _check_texts(calibration: str | None, evaluate: str | None, verify: int) -> None:
    """Refused before the work is done."""
    from checkpoint_lens import read_text
    from mfi_command import BadInput
    from quant_risk_analyzer.texts import refuse_same

    if evaluate is None:
        return
    if not verify:
        raise BadInput("--evaluate without --verify K: nothing would be measured on the text")
    unseen = read_text(evaluate)
    if calibration is not None:
        refuse_same(read_text(calibration), unseen)


def _verified(
    model: str, report: RiskReport, count: int, calibration: str | None, evaluate: str | None
) -> Verification:
    from checkpoint_lens import read_text
    from quant_risk_analyzer.verification import verify as compute

    with progress("verifying") as tick:
        return compute(
            model,
            report,
            count=count,
            evaluation=None if evaluate is None else read_text(evaluate),
            calibration=None if calibration is None else read_text(calibration),
            on_progress=tick,
        )


def _sentences(check: Verification) -> list[str]:
    layers = len({each.name for each in check.damages})
    return [
        f"{name}: {layers} layers quantized one at a time; rank correlation of risk and measured KL "
        f"{found.rank_correlation:.2f} ({found.low:.2f} to {found.high:.2f}) on {check.tokens} tokens of "
        f"{check.text}."
        for name, found in check.checks.items()
    ]


def _limits(limits: Thresholds) -> str:
    if limits.by == "rank":
        return (
            f"A: chance to be in the worst tenth of the layers up to {limits.unlikely:g}; C: from "
            f"{limits.likely:g} on."
        )
    return f"A below {limits.safe:g}, C above {limits.risky:g} nats/token."


def _risk_table(report: RiskReport, name: str) -> Table:
    columns = [
        "layer",
        "shape",
        "rating",
        "risk",
        "low",
        "high",
        "worst tenth",
        "SNR dB",
        "drift",
        "fix",
        "why",
    ]
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
                found.top_decile,
                found.snr_db,
                found.drift,
                found.fix,
                found.reasons[0],
            ]
            for layer in ordered
            for found in [layer.formats[name]]
        ],
    )
