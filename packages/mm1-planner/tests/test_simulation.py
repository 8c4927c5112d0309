"""Simulation against theory through its own intervals, and its random streams."""

from __future__ import annotations

import numpy as np
import pytest

from mfi_command import BadInput
from mm1_planner import METRICS, MG1, MM1, Constant, ErlangA, Lognormal, MMc, MMcK, simulate, stream
from mm1_planner.simulation import measure

# With 99.9 % intervals and these seeds a correct program fails about once in fifty such tables.
CONFIDENCE = 0.999


def assert_agrees(simulation, answer, metrics=METRICS) -> None:
    for metric in metrics:
        low, high = simulation.estimates[metric].interval(CONFIDENCE)
        assert low <= getattr(answer, metric) <= high, metric
        # An interval that holds everything would prove nothing.
        widest = 1.0 if metric.startswith("p999") else 0.35
        assert high - low <= widest * max(getattr(answer, metric), 0.5 * answer.mean_sojourn_s), metric


@pytest.mark.parametrize(("rate", "servers"), [(0.3, 1), (0.8, 1), (1.6, 2), (10.5, 12)])
def test_simulation_meets_mmc(rate: float, servers: int) -> None:
    simulation = simulate(arrival_rate_per_s=rate, service=1.0, servers=servers, customers=1_500_000, seed=1)
    assert simulation.converged
    assert_agrees(simulation, MMc(rate, 1.0, servers).answer())


def test_simulation_meets_mmck() -> None:
    exact = MMcK(5.0, 3.0, 2, 6).answer()
    simulation = simulate(
        arrival_rate_per_s=5, service=1 / 3, servers=2, capacity=6, customers=400_000, seed=2
    )
    assert simulation.blocking == pytest.approx(exact.blocking, rel=0.02)
    assert_agrees(simulation, exact)


@pytest.mark.parametrize("law", [Constant(1.0), Lognormal(1.0, 1.5)])
def test_simulation_meets_pollaczek_khinchine(law) -> None:
    simulation = simulate(arrival_rate_per_s=0.7, service=law, customers=2_000_000, seed=3)
    means = [metric for metric in METRICS if metric.startswith("mean")]
    assert_agrees(simulation, MG1(0.7, law).answer(), means)


def test_simpy_and_fast_give_the_same_measurements() -> None:
    fast = simulate(arrival_rate_per_s=3, service="gamma:1:2", servers=4, customers=5000, seed=5)
    simpy = simulate(
        arrival_rate_per_s=3, service="gamma:1:2", servers=4, customers=5000, seed=5, engine="simpy"
    )
    for metric in METRICS:
        np.testing.assert_equal(fast.estimates[metric].interval(), simpy.estimates[metric].interval())


def test_the_warm_up_is_left_out() -> None:
    gaps, services = np.full(2100, 1.0), np.full(2100, 0.5)
    services[:100] = 1e5
    measured = measure(gaps, services, 1000, load=0.5, warmup=100)
    assert measured.customers == 2000
    assert measured.estimates["p999_sojourn_s"].value == 0.5


def test_time_averages_by_hand() -> None:
    # One arrival a second, each served half a second: half a customer in the system at any time.
    measured = measure(np.full(4000, 1.0), np.full(4000, 0.5), 1, load=0.5)
    assert measured.estimates["mean_in_system"].value == pytest.approx(0.5)
    assert measured.estimates["mean_in_queue"].value == 0
    assert measured.estimates["mean_in_system"].standard_error == pytest.approx(0, abs=1e-12)


def test_streams_are_named_not_ordered() -> None:
    first = stream(7, 3, 2, 1).random(4)
    stream(7, 3, 3, 1).random(100)
    np.testing.assert_array_equal(first, stream(7, 3, 2, 1).random(4))
    others = [
        stream(8, 3, 2, 1),
        stream(7, 4, 2, 1),
        stream(7, 3, 1, 1),
        stream(7, 3, 2, 0),
        stream(7, 2, 3, 1),
    ]
    for other in others:
        assert not np.intersect1d(first, other.random(1000)).size


def test_seed_decides_everything() -> None:
    runs = [simulate(arrival_rate_per_s=1, service="exp:0.5", customers=3000, seed=s) for s in (0, 0, 1)]
    assert runs[0] == runs[1]
    assert runs[0].estimates != runs[2].estimates


def test_a_short_run_at_high_load_says_that_it_has_not_converged() -> None:
    assert not simulate(arrival_rate_per_s=0.999, service="exp:1", customers=100_000).converged


def test_overload_says_unstable_and_stays_positive() -> None:
    simulation = simulate(arrival_rate_per_s=2, service="exp:1", customers=20_000)
    assert not simulation.stable
    assert not simulation.converged
    assert simulation.load == 2.0
    assert all(simulation.estimates[metric].value >= 0 for metric in METRICS)


def test_a_percentile_with_too_few_beyond_it_has_no_interval() -> None:
    estimates = simulate(arrival_rate_per_s=1, service="exp:0.5", customers=10_000).estimates
    assert np.isnan(estimates["p999_wait_s"].interval()[0])
    assert np.isfinite(estimates["p95_wait_s"].interval()[0])


@pytest.mark.parametrize(
    "wrong",
    [
        {"customers": 10},
        {"customers": 10**12},
        {"engine": "warp"},
        {"servers": 0},
        {"seed": -1},
        {"service": "normal:1:1"},
        {"service": "exp:nan"},
        {"service": "lognormal:1:-2"},
        {"service": "lognormal:1:1e9"},
        {"service": "exp:1e308"},
        {"servers": 3, "capacity": 2},
    ],
)
def test_bad_input_is_named(wrong: dict) -> None:
    with pytest.raises(BadInput):
        simulate(**({"arrival_rate_per_s": 1.0, "service": "exp:0.5"} | wrong))


def test_waits_shrink_by_half_without_randomness_in_service() -> None:
    constant = simulate(arrival_rate_per_s=0.8, service="det:1", customers=1_000_000, seed=4)
    expected = MM1(0.8, 1.0).answer().mean_wait_s / 2
    low, high = constant.estimates["mean_wait_s"].interval(CONFIDENCE)
    assert low <= expected <= high


@pytest.mark.parametrize(("rate", "servers", "patience_s"), [(12.0, 10, 30.0), (0.9, 1, 1.0), (9.0, 10, 2.0)])
def test_impatient_customers_follow_erlang_a(rate: float, servers: int, patience_s: float) -> None:
    run = simulate(arrival_rate_per_s=rate, service=1.0, servers=servers, patience_s=patience_s, seed=4)
    answer = ErlangA(rate, 1.0, servers, patience_s).answer()
    for metric in METRICS:
        low, high = run.estimates[metric].interval(0.999)
        assert low <= getattr(answer, metric) <= high, metric
    assert run.blocking == pytest.approx(answer.blocking, rel=0.05)
