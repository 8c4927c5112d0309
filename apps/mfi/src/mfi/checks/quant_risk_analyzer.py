"""Rows of quant-risk-analyzer: the rating against the measured damage on the bundled model."""

from __future__ import annotations

from typing import Any

from mfi.checks import Outcome, check

GROUP = 128
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


@check(
    "w12-mixed",
    title="Perplexity of the allocation against uniform bits of the same size, 3.5 and 4.5 bits per weight",
    bound="lower at both sizes than one format for all layers, and than the mean of mixes chosen at random",
    unit="perplexity on unseen text, allocation minus the lower of the two (the closer of both sizes)",
)
def mixed() -> Outcome:
    """Uniform: int3 or int4 with a 16-bit scale for 32 weights, 3.5 or 4.5 bits exactly, as allowed."""
    from checkpoint_lens import perplexity, reference_model, reference_text
    from quant_risk_analyzer import allocate, rate, rounded_weights

    model, text = reference_model(), reference_text("in-domain")
    calibration = reference_text("calibration")
    report = rate(model, formats="int3,int4,int5", granularity=GROUP, calibration=calibration, tokens=2048)

    def evaluated(assignment: dict[str, str], granularity: int) -> float:
        with rounded_weights(model, assignment, granularity=granularity):
            return float(perplexity(model, text, max_tokens=4096).perplexity)

    margins, details = [], []
    for bits, low, high in ((3.5, "int3", "int4"), (4.5, "int4", "int5")):
        plan = allocate(report, average_bits=bits)
        assert plan.average_bits <= bits + 1e-9
        ours = evaluated(dict(plan.assignment), GROUP)
        uniform = evaluated({layer.name: low for layer in report.layers}, 32)
        blind = [evaluated(_without_risk(report, bits, low, high, seed=seed), GROUP) for seed in range(4)]
        mean = sum(blind) / len(blind)
        margins.append(ours - min(uniform, mean))
        details.append(
            f"{bits} bits: {ours:.2f}, {low} in groups of 32 {uniform:.2f}, random {low}/{high} mixes "
            f"{mean:.2f} ({min(blind):.2f} to {max(blind):.2f})"
        )
    return Outcome(measured=max(margins), passed=max(margins) < 0, detail="; ".join(details))


def _without_risk(report: Any, bits: float, low: str, high: str, *, seed: int) -> dict[str, str]:
    """The larger format for layers in a random order while it fits: equal size to a layer's bits."""
    import numpy as np

    sizes = {layer.name: layer.shape[0] * layer.shape[1] for layer in report.layers}
    # Every layer here has a multiple of GROUP inputs: the low format takes its bits and 16 / GROUP.
    left = (bits - int(low.removeprefix("int")) - 16 / GROUP) * sum(sizes.values())
    found = dict.fromkeys(sizes, low)
    for name in np.random.default_rng(seed).permutation(list(sizes)):
        if sizes[name] <= left:
            found[str(name)] = high
            left -= sizes[name]
    return found
