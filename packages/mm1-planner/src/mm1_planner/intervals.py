"""Estimates with intervals from one long run, cut into batches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mm1_planner.inputs import fraction

_SEEN = 5
"""A percentile gets an interval only where each batch holds this many times beyond it."""


@dataclass(frozen=True)
class Estimate:
    """A number from a simulation.

    Attributes
    ----------
    value : float
        The estimate over the whole run.
    standard_error : float
        Of `value`; NaN where the batches are too short to tell.
    batches : int
        How many batches it comes from; the interval uses Student's t with one degree of freedom less.
    """

    value: float
    standard_error: float
    batches: int

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """The two-sided confidence interval, cut at 0; NaN where the batches are too short to tell."""
        from scipy.special import stdtrit

        width = float(stdtrit(self.batches - 1, (1 + fraction("confidence", confidence)) / 2))
        half = width * self.standard_error
        # Not max(0, ...): that would turn NaN into 0.
        return float(np.maximum(self.value - half, 0.0)), self.value + half


def of_batches(value: float, batch_values: np.ndarray) -> Estimate:
    r"""Sectioning: the spread of the batches' estimates about the estimate of the whole run.

    $$ s^2 = \frac{1}{b(b-1)} \sum_i (\hat\theta_i - \hat\theta)^2 $$

    For means it is the batch-means method; for percentiles and ratios it is centred on the less biased
    whole-run estimate. Asmussen and Glynn, Stochastic Simulation, section III.5.
    """
    count = batch_values.size
    error = math.sqrt(float(np.sum((batch_values - value) ** 2)) / (count * (count - 1)))
    return Estimate(float(value), error, count)


def ratio(numerators: np.ndarray, denominators: np.ndarray) -> Estimate:
    """Sum over sum, each entry one batch: a mean, or a time average."""
    if denominators.sum() <= 0 or np.any(denominators <= 0):
        whole_run = numerators.sum() / denominators.sum() if denominators.sum() > 0 else math.nan
        return Estimate(float(whole_run), math.nan, numerators.size)
    return of_batches(numerators.sum() / denominators.sum(), numerators / denominators)


def percentiles(batches: list[np.ndarray], levels: list[float]) -> list[Estimate]:
    """Estimates of several percentiles, each an order statistic: the smallest time that enough stay under."""
    pooled = np.sort(np.concatenate(batches))
    each = [np.sort(batch) for batch in batches]
    shortest = min(batch.size for batch in each)
    estimates = []
    for level in levels:
        if shortest * (1 - level) < _SEEN:
            value = order_statistic(pooled, level) if pooled.size else math.nan
            estimates.append(Estimate(value, math.nan, len(batches)))
        else:
            values = np.array([order_statistic(batch, level) for batch in each])
            estimates.append(of_batches(order_statistic(pooled, level), values))
    return estimates


def order_statistic(ordered: np.ndarray, level: float) -> float:
    """The smallest entry of a sorted array that a share `level` of the entries does not exceed."""
    return float(ordered[max(0, math.ceil(level * ordered.size - 1e-9) - 1)])
