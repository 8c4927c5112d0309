"""Rows of quant-risk-analyzer: the rating against the measured damage on the bundled model."""

from __future__ import annotations

from mfi.checks import Outcome, check

FORMATS = ("int4", "int3")


@check(
    "w11-rating",
    title="Rank correlation of the risk with the measured KL, one layer quantized at a time, int4 and int3",
    bound="no data: >= 0.90 overall, >= 0.55 within role; 32 texts: >= 0.75 within role",
    unit="Spearman's rho, the smaller of int4 and int3",
)
def rating() -> Outcome:
    """The truth is measured on held-out text; the 32 texts are windows of the calibration text."""
    from checkpoint_lens import reference_model, reference_text
    from quant_risk_analyzer import measure, rank_agreement, rate

    model = reference_model()
    truth = measure(model, reference_text("in-domain"), formats=FORMATS, max_tokens=1024)
    reports = {
        "no data": rate(model, formats=FORMATS),
        "32 texts": rate(
            model, formats=FORMATS, calibration=reference_text("calibration"), tokens=32 * 128, context=128
        ),
    }
    found = {}
    for name, report in reports.items():
        roles = {layer.name: layer.role for layer in report.layers}
        agreements = [rank_agreement(report.risks(each), truth.kl(each), roles) for each in FORMATS]
        found[f"{name}, overall"] = min(each.overall for each in agreements)
        found[f"{name}, within role"] = min(each.within_role for each in agreements)
    passed = (
        found["no data, overall"] >= 0.90
        and found["no data, within role"] >= 0.55
        and found["32 texts, within role"] >= 0.75
    )
    detail = ", ".join(f"{name} {rho:.3f}" for name, rho in found.items())
    return Outcome(measured=found, passed=passed, detail=f"{detail}; {len(truth.layers) // 2} layers")


@check(
    "w40-example",
    title="The three worked examples of quant-risk-analyzer's README, run again",
    bound="holds",
    unit="examples that print the numbers beside them, of 3",
)
def examples() -> Outcome:
    """The README shows the files that the package ships; a test of the package compares the two."""
    from quant_risk_analyzer.examples import NAMES, example, same

    found = {name: example(name) for name in NAMES}
    printed = {name: each.run() for name, each in found.items()}
    equal = [name for name in NAMES if same(printed[name], found[name].printed)]
    detail = "; ".join(f"{name}: {printed[name].strip().splitlines()[-1]}" for name in NAMES)
    return Outcome(measured=float(len(equal)), passed=len(equal) == len(NAMES) == 3, detail=detail)
