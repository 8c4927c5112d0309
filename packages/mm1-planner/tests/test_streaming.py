"""Runs without an end: their memory, their customers, and when they stop."""

from __future__ import annotations

import numpy as np
import pytest

from mm1_planner import METRICS, MM1, MMcK, simulate
from mm1_planner.engine.fast import Station, simulate_fast
from mm1_planner.engine.tally import BINS, Histogram
from mm1_planner.simulation import MOST
from mm1_planner.streaming import Record, precise, stream_queue


@pytest.mark.parametrize(("servers", "capacity"), [(1, None), (3, None), (3, 5), (2, 2)])
@pytest.mark.parametrize("patient", [True, False])
def test_blocks_serve_the_same_customers(servers: int, capacity: int | None, patient: bool) -> None:
    rng = np.random.default_rng(1)
    gaps, services = rng.exponential(1 / servers, 5000), rng.exponential(0.95, 5000)
    patience = None if patient else rng.exponential(2.0, 5000)
    whole = simulate_fast(gaps, services, servers, capacity, patience)
    station, parts = Station(servers, capacity, patient=patient), []
    for low, high in ((0, 1), (1, 2000), (2000, 5000)):
        block = slice(low, high)
        parts.append(
            station.serve(gaps[block], services[block], None if patience is None else patience[block])
        )
        station.rewind()
    for one, many in zip(whole, zip(*parts, strict=True), strict=True):
        np.testing.assert_allclose(np.concatenate(many), one, rtol=1e-9, atol=1e-9)


def test_the_histogram_keeps_quantiles_shares_and_atoms() -> None:
    rng = np.random.default_rng(2)
    times = np.where(rng.random(40_000) < 0.3, 0.0, rng.lognormal(0.0, 2.0, 40_000))
    times[:5000] = 0.7
    kept = Histogram(1.0, 4)
    for batch, part in enumerate(np.split(times, 4)):
        kept.add(batch, part)
    levels = np.array([0.01, 0.2, 0.5, 0.9, 0.99, 0.999])
    expected = np.quantile(times, levels, method="inverted_cdf")
    np.testing.assert_allclose(kept.quantiles(levels), expected, rtol=8e-3)
    for time_s in (0.0, 0.3, 5.0):
        exact = [(part > time_s).mean() for part in np.split(times, 4)]
        np.testing.assert_allclose(kept.shares_beyond(time_s, 4), exact, atol=2e-3)
    total = kept.counts.sum()
    kept.merge()
    assert kept.counts.sum() == total
    assert kept.counts[2:].sum() == 0
    assert kept.sums[:2].sum() == pytest.approx(times.sum())


def test_an_automatic_run_stops_when_it_is_precise_and_repeats_itself() -> None:
    loose, tight = (
        simulate(arrival_rate_per_s=0.7, service="exp:1", precision=p, seed=5) for p in (0.05, 0.015)
    )
    assert loose.converged
    assert tight.converged
    assert tight.customers > loose.customers
    for run, precision in ((loose, 0.05), (tight, 0.015)):
        # Judged by pairs of the batches that ended the run.
        assert precise(run.estimates, 1.7 * precision)
        assert not precise(run.estimates, precision / 20)
    assert simulate(arrival_rate_per_s=0.7, service="exp:1", precision=0.05, seed=5) == loose
    answer = MM1(0.7, 1.0).answer()
    for metric in METRICS:
        low, high = tight.estimates[metric].interval(0.999)
        assert low <= getattr(answer, metric) <= high, metric


def test_a_run_that_may_not_be_long_enough_says_so() -> None:
    run = simulate(arrival_rate_per_s=0.99, service="exp:1", most_customers=200_000)
    assert not run.converged
    assert run.customers + run.warmup <= 200_000


def test_a_stream_counts_who_was_turned_away() -> None:
    run = simulate(arrival_rate_per_s=5, service=1 / 3, servers=2, capacity=6, precision=0.01, seed=2)
    exact = MMcK(5.0, 3.0, 2, 6).answer()
    assert run.blocking == pytest.approx(exact.blocking, rel=0.03)
    for metric in ("mean_in_queue", "mean_wait_s", "p99_sojourn_s"):
        low, high = run.estimates[metric].interval(0.999)
        assert low <= getattr(exact, metric) <= high, metric


def test_memory_does_not_grow_with_the_run() -> None:
    class Nobody:
        def serve(self, gaps_s, services_s, patience_s=None):
            return gaps_s, gaps_s + services_s

        def rewind(self) -> None:
            pass

    biggest = [0]

    def draws(count: int):
        biggest[0] = max(biggest[0], count)
        return np.full(count, 0.5), np.full(count, 1.0), None

    record, warmup, reached = stream_queue(
        Nobody(), draws, unit_s=1.0, relaxation=10.0, most=10**7, exactly=1_000_000
    )
    assert reached
    assert record.customers + warmup == 1_000_000
    assert biggest[0] < 50_000
    assert record.waits.counts.shape == (40, BINS)
    assert record.estimates(0.0)["mean_in_system"].value == pytest.approx(3.0)


@pytest.mark.slow
def test_more_customers_than_memory_holds_are_streamed() -> None:
    run = simulate(arrival_rate_per_s=0.5, service="exp:1", customers=MOST + 41, seed=1)
    assert run.customers + run.warmup == MOST + 41
    low, high = run.estimates["mean_wait_s"].interval(0.999)
    assert low <= 1.0 <= high


def test_an_empty_record_has_room_for_a_batch() -> None:
    record = Record(1.0, 100)
    assert record.room == 100
    assert record.customers == 0
