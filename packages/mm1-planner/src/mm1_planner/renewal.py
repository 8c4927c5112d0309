"""Whether the gaps of a trace depend on each other: a renewal answer needs that they do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mm1_planner.streams import stream

_LAGS = (1, 2, 3, 5, 10, 20, 50, 100)
SHUFFLES = 39
_SHUFFLING = 16
"""Purpose of the random stream, beside those of `streams`."""


@dataclass(frozen=True)
class Autocorrelation:
    """Correlation of gaps that are `lag` arrivals apart.

    Attributes
    ----------
    lag : int
        Arrivals between the two gaps.
    value : float
        Correlation; 0 for independent gaps.
    bound : float
        What independent gaps of light tails exceed, in size, once in a thousand times: 3.29 / sqrt(n).
    """

    lag: int
    value: float
    bound: float


def autocorrelation(gaps_s: np.ndarray) -> list[Autocorrelation]:
    r"""$r_k=\sum_i (g_i-\bar g)(g_{i+k}-\bar g)/\sum_i (g_i-\bar g)^2$ at growing lags below a tenth of n.

    Box, Jenkins, Reinsel, *Time Series Analysis*, section 2.1. Gaps all equal have none: 0.
    """
    centred = gaps_s - gaps_s.mean()
    total = float(centred @ centred)
    bound = 3.29 / float(np.sqrt(gaps_s.size))
    return [
        Autocorrelation(lag, float(centred[:-lag] @ centred[lag:]) / total if total else 0.0, bound)
        for lag in _LAGS
        if lag < gaps_s.size / 10
    ]


def index_of_dispersion(arrivals_s: np.ndarray, span_s: float, width_s: float) -> tuple[float, int]:
    """Variance over mean of the counts in windows of `width_s`, and how many whole windows there are.

    `arrivals_s` begins at 0 with the arrival that opens the trace and is not counted.
    """
    count = int(span_s / width_s * (1 + 1e-12))
    where = np.floor(arrivals_s[1:] / width_s).astype(int)
    windows = np.bincount(where[where < count], minlength=count)
    return float(windows.var(ddof=1) / windows.mean()), count


def dependence(
    gaps_s: np.ndarray, indices: Sequence[float], widths_s: Sequence[float]
) -> tuple[float, float]:
    """How far order matters: p-value, and the largest ratio of an index to its mean over shuffled gaps.

    The same gaps in random order are a renewal process with the same law of the gap. The statistic is the
    largest deviation over the scales of the logarithm of the index, in standard deviations of the shuffles;
    its p-value is the share of orders, the trace's own among them, that deviate as far (a permutation test,
    exact at any sample size). There are 39 shuffles, at every other scale.
    """
    rng, span = stream(0, 0, 0, _SHUFFLING), float(gaps_s.sum())
    widths_s = widths_s[::2]
    logs = np.empty((SHUFFLES + 1, len(widths_s)))
    logs[0] = np.log(np.maximum(indices[::2], 1e-12))
    for row in range(1, SHUFFLES + 1):
        arrivals = np.concatenate([[0.0], np.cumsum(rng.permutation(gaps_s))])
        shuffled = [index_of_dispersion(arrivals, span, width)[0] for width in widths_s]
        logs[row] = np.log(np.maximum(shuffled, 1e-12))
    spread = logs[1:].std(axis=0)
    deviations = (logs - logs[1:].mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    furthest = np.abs(deviations).max(axis=1)
    p = float((furthest >= furthest[0]).mean())
    return p, float(np.exp((logs[0] - logs[1:].mean(axis=0)).max()))
