"""Laws of the wait: an atom at zero and a decreasing tail, exponential or in a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Wait(Protocol):
    """A law of the wait."""

    @property
    def mean_s(self) -> float:
        """Mean, seconds."""

    @property
    def probability(self) -> float:
        """Share that waits."""

    def tail(self, times_s: np.ndarray) -> np.ndarray:
        """Share that waits longer, elementwise."""


@dataclass(frozen=True)
class ExponentialWait:
    """Those who wait do so for an exponential time."""

    probability: float
    mean_s: float

    def tail(self, times_s: np.ndarray) -> np.ndarray:
        """Share that waits longer, elementwise."""
        if self.mean_s == 0:
            return np.zeros(times_s.shape)
        return np.asarray(self.probability * np.exp(-times_s * self.probability / self.mean_s))


EXCEEDANCES = np.geomspace(1.0, 1e-5, 241)[1:]
"""Shares at which a tabled law keeps its quantiles."""


@dataclass(frozen=True, eq=False)
class TabledWait:
    """Quantiles at `EXCEEDANCES`, between them straight lines of the tail's logarithm.

    Attributes
    ----------
    probability, mean_s : float
        Share that waits; mean, seconds.
    quantiles_s : ndarray
        Seconds, float64 (240,), not decreasing; 0 within the atom.
    """

    probability: float
    mean_s: float
    quantiles_s: np.ndarray

    def tail(self, times_s: np.ndarray) -> np.ndarray:
        """Share that waits longer, elementwise; beyond the table at the rate of its last decade."""
        if not self.probability > EXCEEDANCES[-1]:
            return np.where(times_s > 0, 0.0, self.probability)
        some = self.probability > EXCEEDANCES
        times = np.concatenate([[0.0], self.quantiles_s[some]])
        logs = np.log(np.concatenate([[self.probability], EXCEEDANCES[some]]))
        back = min(48, times.size - 1)
        slope = (logs[-1] - logs[-1 - back]) / max(times[-1] - times[-1 - back], 1e-300)
        beyond = logs[-1] + slope * np.maximum(times_s - times[-1], 0.0)
        return np.asarray(np.exp(np.where(times_s > times[-1], beyond, np.interp(times_s, times, logs))))

    def stretched(self, share: float, factor: float) -> TabledWait:
        """`share` times as many wait, each `factor` times as long."""
        probability = min(1.0, self.probability * share)
        levels = np.log(EXCEEDANCES * self.probability / max(probability, 1e-300))
        moved = np.interp(-levels, -np.log(EXCEEDANCES), self.quantiles_s, left=0.0)
        moved = np.where(probability > EXCEEDANCES, factor * moved, 0.0)
        return TabledWait(
            probability, self.mean_s * factor * probability / max(self.probability, 1e-300), moved
        )

    def towards(self, other: TabledWait, part: float) -> TabledWait:
        """Between two laws, quantile by quantile; 0 is this one and 1 the other."""
        return TabledWait(
            self.probability + part * (other.probability - self.probability),
            self.mean_s + part * (other.mean_s - self.mean_s),
            self.quantiles_s + part * (other.quantiles_s - self.quantiles_s),
        )


def tabled(probability: float, mean_s: float, times_s: np.ndarray, tail: np.ndarray) -> TabledWait:
    """A law from its tail at increasing times, the first of them 0."""
    falling = np.maximum.accumulate(np.maximum(tail, 1e-300)[::-1])[::-1]
    quantiles = np.interp(-np.log(EXCEEDANCES), -np.log(falling), times_s)
    return TabledWait(probability, mean_s, np.where(probability > EXCEEDANCES, quantiles, 0.0))
