"""Intervals: their arithmetic, and how often they hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mm1_planner.intervals import Estimate, of_batches, order_statistics, percentiles, ratio


def test_batch_means_by_hand() -> None:
    estimate = ratio(np.array([2.0, 4.0, 6.0]), np.array([1.0, 1.0, 1.0]))
    assert estimate == Estimate(4.0, math.sqrt(8 / 6), 3)
    low, high = estimate.interval(0.9)
    assert (low, high) == pytest.approx((4 - 2.9199856 * math.sqrt(8 / 6), 4 + 2.9199856 * math.sqrt(8 / 6)))


def test_an_interval_of_times_stops_at_zero() -> None:
    assert Estimate(1.0, 5.0, 20).interval()[0] == 0.0
    assert math.isnan(Estimate(1.0, math.nan, 20).interval()[0])


@pytest.mark.parametrize(("level", "expected"), [(0.5, 5), (0.9, 9), (0.91, 10), (0.99, 10), (0.05, 1)])
def test_order_statistic_is_the_inverse_of_the_share(level: float, expected: float) -> None:
    assert order_statistics(np.arange(1.0, 11.0), np.array([level]))[0] == expected


def test_percentiles_agree_with_numpy() -> None:
    values = np.random.default_rng(0).exponential(size=20_000)
    found = percentiles(np.split(values, 20), [0.5, 0.99])
    assert [e.value for e in found] == list(np.quantile(values, [0.5, 0.99], method="inverted_cdf"))


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    truth = {"mean": 1.0, 0.9: math.log(10), 0.99: math.log(100)}
    held = dict.fromkeys(truth, 0)
    runs = 400
    for _ in range(runs):
        batches = np.split(rng.exponential(size=20_000), 20)
        means = np.array([batch.mean() for batch in batches])
        estimates = {"mean": of_batches(float(means.mean()), means)}
        estimates |= dict(zip((0.9, 0.99), percentiles(batches, [0.9, 0.99]), strict=True))
        for name, estimate in estimates.items():
            low, high = estimate.interval(0.95)
            held[name] += low <= truth[name] <= high
    # Four standard deviations of a binomial share of 0.95.
    for name, count in held.items():
        assert abs(count / runs - 0.95) < 4 * math.sqrt(0.95 * 0.05 / runs), name


def test_clusters_known_from_theory_widen_an_interval_and_never_narrow_it() -> None:
    batches = np.split(np.random.default_rng(2).exponential(size=200_000), 20)
    alone, clustered = (percentiles(batches, [0.99], cluster=size)[0] for size in (0.0, 50.0))
    # 2000 independent times beyond, or 40 clusters: the tail's share is sqrt(50) times less certain.
    ratio_of_widths = np.subtract(*clustered.interval()) / np.subtract(*alone.interval())
    assert 4 < ratio_of_widths < 12
    assert percentiles(batches, [0.99], cluster=0.01)[0].interval() == alone.interval()
    assert math.isnan(percentiles(batches, [0.99], cluster=500.0)[0].interval()[0])
