"""Rows of quant-risk-analyzer's quantizers: scale search, drift, quantization-aware training."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import process_time
from typing import Any

from mfi.checks import Outcome, check

REPEATS = 7
BLOCKS = (0, 4)


@check(
    "w18-newton",
    title="Newton scale search against a grid of 100 points, layers of two blocks of the bundled model",
    bound="MSE <= 1.005 x the grid's, time <= 1/10, both vectorised; int4, int3; channel, group of 128",
    unit="ratios to the grid, the largest of the four cases",
)
def newton() -> Outcome:
    """Processor time, the best of several by turns: what else the machine does hardly counts."""
    import numpy as np

    from checkpoint_lens import open_checkpoint
    from quant_risk_analyzer import quantize, search_scale

    checkpoint = open_checkpoint("reference")
    layers = [layer for layer in checkpoint.linear_layers() if layer.block in BLOCKS]
    weights = [np.asarray(checkpoint[layer.tensor], np.float32) for layer in layers]

    def steps(name: str, granularity: Any, method: Any) -> list[Any]:
        return [search_scale(W, name, granularity=granularity, method=method) for W in weights]

    def squared(found: list[Any], name: str, granularity: Any) -> float:
        values = [
            quantize(W, name, granularity=granularity, scales=scales).dequantized
            for W, scales in zip(weights, found, strict=True)
        ]
        return sum(float(((W - Q) ** 2).sum()) for W, Q in zip(weights, values, strict=True))

    errors: dict[str, float] = {}
    times: dict[str, float] = {}
    for name in ("int4", "int3"):
        for granularity in ("channel", 128):
            (ours, fast), (theirs, slow) = _by_turns(
                partial(steps, name, granularity, "newton"), partial(steps, name, granularity, "mse")
            )
            case = f"{name} {granularity}"
            errors[case] = squared(ours, name, granularity) / squared(theirs, name, granularity)
            times[case] = fast / slow
    worst, slowest = max(errors.values()), max(times.values())
    detail = "; ".join(f"{case}: MSE {errors[case]:.4f}, time {times[case]:.3f}" for case in errors)
    return Outcome(
        measured={"MSE": worst, "time": slowest}, passed=worst <= 1.005 and slowest <= 0.1, detail=detail
    )


def _by_turns(*computations: Callable[[], Any]) -> list[tuple[Any, float]]:
    """Each answer with the shortest processor time of its computation, seconds."""
    best = [float("inf")] * len(computations)
    answers: list[Any] = [None] * len(computations)
    for _ in range(REPEATS):
        for at, compute in enumerate(computations):
            start = process_time()
            answers[at] = compute()
            best[at] = min(best[at], process_time() - start)
    return list(zip(answers, best, strict=True))


@check(
    "w17-qat",
    title="Quantization-aware training of a small network, Adam beside SGD, int2 weights",
    bound="reported: both curves fall, and end below the network rounded after training",
    unit="mean squared error of the quantized network, mean of the last 20 steps",
)
def training() -> Outcome:
    """`quant-risk-analyzer qat --output qat.svg` draws the curves."""
    from quant_risk_analyzer.qat import train_quantized

    found = train_quantized("int2")
    ends = {name: sum(losses[-20:]) / 20 for name, losses in found.losses.items()}
    passed = all(
        end < found.losses[name][0] and end < found.rounded_after[name] for name, end in ends.items()
    )
    detail = "; ".join(
        f"{name}: {found.losses[name][0]:.3f} at the start, {end:.3f} at the end, "
        f"{found.rounded_after[name]:.3f} rounded after training"
        for name, end in ends.items()
    )
    return Outcome(measured=ends, passed=passed, detail=detail)


@check(
    "w08-drift",
    title="Layers whose singular values, or eigenvalues where square, drift over 10 %: predicted, measured",
    bound="precision, recall >= 0.9, accuracy >= 0.95, all layers x int8, int4, int3; no bound exceeded",
    unit="shares of the bundled model's layers and formats",
)
def drift() -> Outcome:
    """Predicted from the weights and the step; `benchmarks/drift.py` has other models and granularities."""
    from quant_risk_analyzer.drift import LIMIT, drifts

    rows = drifts("reference", formats="int8,int4,int3")
    found = _judged([(row.predicted > LIMIT, row.exceeds) for row in rows])
    alone = _judged([(row.singular_predicted > LIMIT, row.singular_measured > LIMIT) for row in rows])
    square = [row for row in rows if row.eigenvalue_measured is not None]
    exceeded = sum(row.singular_measured > row.bound for row in rows)
    passed = (
        found["precision"] >= 0.9 and found["recall"] >= 0.9 and found["accuracy"] >= 0.95 and not exceeded
    )
    detail = (
        f"{sum(row.exceeds for row in rows)} of {len(rows)} over {LIMIT:.0%}, {len(square)} of them with "
        f"eigenvalues; singular values alone: {', '.join(f'{k} {v:.3f}' for k, v in alone.items())}; "
        f"{exceeded} above their bound"
    )
    return Outcome(measured=found, passed=passed, detail=detail)


def _judged(pairs: list[tuple[bool, bool]]) -> dict[str, float]:
    """Of (said, true): precision, recall, accuracy."""
    hits = sum(said and true for said, true in pairs)
    return {
        "precision": hits / max(1, sum(said for said, _ in pairs)),
        "recall": hits / max(1, sum(true for _, true in pairs)),
        "accuracy": sum(said == true for said, true in pairs) / len(pairs),
    }
