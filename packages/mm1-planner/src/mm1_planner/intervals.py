"""Estimates with intervals from one long run, cut into batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from mm1_planner.inputs import fraction

_FEWEST_CLUSTERS = 5
"""A percentile gets no interval from fewer clusters of long waits than these."""

_ENOUGH_CLUSTERS = 100
"""From so many on, the spread of the batches is believed without a floor."""

_STEPS = np.geomspace(1e-4, 3.0, 300)
_GRID = np.concatenate([-_STEPS[::-1], [0.0], _STEPS])
"""Log-odds about a percentile's level at which the sample's quantiles are kept: steps of 3.5 %."""


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
        half = _student(self.batches - 1, confidence) * self.standard_error
        # Not max(0, ...): that would turn NaN into 0.
        return float(np.maximum(self.value - half, 0.0)), self.value + half


@dataclass(frozen=True)
class Percentile(Estimate):
    r"""A percentile, its interval by inverting that of the share beyond it.

    The share of times beyond the percentile is a mean, so batch means give its standard error; the interval
    of the level is symmetric in log-odds, which follows the skewness of rare excursions, and the sample's
    quantiles carry it over to time. An interval about the percentile itself, from the spread of the batches'
    percentiles, is far too narrow at p99.9: a long wait comes in a cluster of customers, and most batches see
    none. Compare Asmussen and Glynn, Stochastic Simulation, section III.4.

    Attributes
    ----------
    log_odds_error : float
        Standard error of the log-odds of the share; `standard_error` is NaN.
    around : tuple of float
        The sample's quantiles at log-odds -3 to 3 about the level.
    """

    log_odds_error: float = math.nan
    around: tuple[float, ...] = field(default=(), repr=False)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """The two-sided confidence interval; NaN where the run holds too few excursions to tell."""
        half = _student(self.batches - 1, confidence) * self.log_odds_error
        if not half <= _GRID[-1]:
            return math.nan, math.nan
        # Outwards to the next grid point: between two of them may lie the jump of the wait's atom at zero.
        low = int(np.searchsorted(_GRID, -half, side="right")) - 1
        return self.around[low], self.around[int(np.searchsorted(_GRID, half))]


def _student(degrees: int, confidence: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + fraction("confidence", confidence)) / 2))


def of_batches(value: float, batch_values: np.ndarray) -> Estimate:
    r"""Sectioning: the spread of the batches' estimates about the estimate of the whole run.

    $$ s^2 = \frac{1}{b(b-1)} \sum_i (\hat\theta_i - \hat\theta)^2 $$

    For means it is the batch-means method; for ratios it is centred on the less biased whole-run estimate.
    Asmussen and Glynn, Stochastic Simulation, section IV.5.
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


def percentiles(batches: list[np.ndarray], levels: list[float], *, cluster: float = 0.0) -> list[Estimate]:
    """Estimates of several percentiles, each an order statistic: the smallest time that enough stay under.

    `cluster` is about how many customers in a row exceed a high percentile together, where theory knows it:
    the standard error is not let below what clusters of that size imply. 0 leaves it to the batches, which
    then have to show something beyond the percentile in at least every other one.
    """
    ordered = np.sort(np.concatenate(batches))
    if not ordered.size:
        return [Estimate(math.nan, math.nan, len(batches)) for _ in levels]
    return [_percentile(batches, ordered, level, cluster) for level in levels]


def _percentile(batches: list[np.ndarray], ordered: np.ndarray, level: float, cluster: float) -> Percentile:
    return shares_to_percentile(
        lambda levels: order_statistics(ordered, levels),
        lambda value: np.array([np.count_nonzero(batch > value) / max(batch.size, 1) for batch in batches]),
        level,
        customers=ordered.size,
        cluster=cluster,
    )


def shares_to_percentile(
    quantiles: Callable[[np.ndarray], np.ndarray],
    shares_beyond: Callable[[float], np.ndarray],
    level: float,
    *,
    customers: int,
    cluster: float = 0.0,
) -> Percentile:
    """A percentile from the run's quantiles and the share of each batch beyond it; `cluster` as above."""
    if not customers:
        return Percentile(math.nan, math.nan, 2)
    value = float(quantiles(np.array([level]))[0])
    shares = shares_beyond(value)
    error = float(shares.std(ddof=1)) / math.sqrt(shares.size) / (level * (1 - level))
    if 0 < customers * (1 - level) < _ENOUGH_CLUSTERS * cluster:
        # By chance the long waits may be spread evenly, most of all where they are few; then the batches
        # promise too much. Clusters shrink towards the median; level**3 follows M/M/1 at loads 0.6 to 0.9.
        error = max(error, math.sqrt(cluster * level**3 / (customers * (1 - level))) / level)
    seldom = cluster == 0 and np.count_nonzero(shares) < shares.size / 2
    if seldom or customers * (1 - level) < _FEWEST_CLUSTERS * cluster:
        error = math.nan
    around = quantiles(1 / (1 + (1 / level - 1) * np.exp(-_GRID)))
    return Percentile(value, math.nan, shares.size, error, tuple(around.tolist()))


def order_statistics(ordered: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The smallest entries of a sorted array that shares `levels` of the entries do not exceed."""
    places = np.ceil(levels * ordered.size - 1e-9).astype(np.int64) - 1
    return np.asarray(ordered[np.maximum(places, 0)])
