"""The 90 % interval of a pass: quantiles of what models and devices left out of the fit were off by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEVEL = 0.9
_MOST_NESTED = 40  # groups; the cost is their square


def quantiles(groups: Mapping[str, Sequence[float]], level: float = LEVEL) -> tuple[float, float]:
    """Quantiles of log(measured / predicted) that leave (1 - level) / 2 out on each side, every group
    weighing
    the same.
    """
    values = np.concatenate([np.asarray(group, float) for group in groups.values()])
    weights = np.concatenate([np.full(len(group), 1 / len(group)) for group in groups.values()])
    order = np.argsort(values)
    share = np.cumsum(weights[order]) / weights.sum()
    tail = (1 - level) / 2
    low, high = np.searchsorted(share, (tail, 1 - tail))
    return float(values[order][low]), float(values[order][min(high, len(values) - 1)])


def _excess(groups: Mapping[str, Sequence[float]], level: float) -> dict[str, Floats]:
    """How far each row of a group lies outside the quantiles of the others; negative inside."""
    found = {}
    for name, values in groups.items():
        low, high = quantiles({key: group for key, group in groups.items() if key != name}, level)
        held = np.asarray(values)
        found[name] = np.maximum(low - held, held - high)
    return found


def coverage(groups: Mapping[str, Sequence[float]], widen: float, level: float = LEVEL) -> dict[str, float]:
    """Share of each group that the quantiles of the others hold, moved apart by `widen` on each side."""
    return {name: float(np.mean(excess <= widen)) for name, excess in _excess(groups, level).items()}


def conformal(groups: Mapping[str, Sequence[float]], level: float = LEVEL) -> dict[str, Any]:
    """An interval that holds a group which it has not seen with probability `level`.

    Quantiles of some groups do not show how different the next one is (exchangeability holds between groups,
    not rows: Lei and Wasserman 2014; Dunn, Wasserman and Ramdas 2022), so they are moved apart until each
    group, judged by the others, is covered to `level` in the mean. `coverage_nested` chooses that widening
    without the group it judges.

    Parameters
    ----------
    groups
        log(measured / predicted) of rows that the fit did not see, by family or device.
    """
    widen = _widening(groups, level)
    low, high = quantiles(groups, level)
    errors = np.abs(np.expm1(-np.concatenate([np.asarray(group) for group in groups.values()])))
    return {
        "low_log": low - widen,
        "high_log": high + widen,
        "widened": widen,
        "coverage": _rowwise(groups, coverage(groups, widen, level)) if len(groups) > 1 else math.nan,
        "coverage_nested": _nested(groups, level),
        "median_ape": float(np.median(errors)),
        "p90_ape": float(np.quantile(errors, 0.9)),
        "worst_ape": float(errors.max()),
        "rows": len(errors),
        "groups": len(groups),
    }


def _rowwise(groups: Mapping[str, Sequence[float]], shares: Mapping[str, float]) -> float:
    rows = sum(len(group) for group in groups.values())
    return sum(shares[name] * len(group) for name, group in groups.items()) / rows


def _widening(groups: Mapping[str, Sequence[float]], level: float) -> float:
    """The least that covers `level` of the rows left out; it may be negative, where quantiles hold too
    much.
    """
    if len(groups) < 2:
        return 0.0
    excess = np.sort(np.concatenate(list(_excess(groups, level).values())))
    return float(excess[min(len(excess) - 1, math.ceil(level * len(excess)) - 1)])


def _nested(groups: Mapping[str, Sequence[float]], level: float) -> float:
    if not 3 <= len(groups) <= _MOST_NESTED:
        return math.nan
    shares = {}
    for name in groups:
        others = {key: group for key, group in groups.items() if key != name}
        widen, (low, high) = _widening(others, level), quantiles(others, level)
        held = np.asarray(groups[name])
        shares[name] = float(np.mean((low - widen <= held) & (held <= high + widen)))
    return _rowwise(groups, shares)
