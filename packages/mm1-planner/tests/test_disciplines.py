"""Simulated priorities, sharing, batches and bursts against their formulas, and the two side by side."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mfi_command import BadInput
from mm1_planner import (
    METRICS,
    MG1PS,
    Batching,
    Constant,
    Exponential,
    Gamma,
    Priority,
    PriorityClass,
    Sharing,
    simulate_batches,
    simulate_priorities,
    simulate_shared,
    solve,
    solve_batches,
    solve_priorities,
    solve_shared,
)
from mm1_planner.side_by_side import parse_class

CONFIDENCE = 0.999


def assert_agrees(run, answer) -> None:
    for metric in METRICS:
        low, high = run.estimates[metric].interval(CONFIDENCE)
        assert math.isnan(low) or low <= getattr(answer, metric) <= high, metric


def test_priorities_meet_their_formula() -> None:
    classes = [PriorityClass(0.2, Gamma(1.0, 1.5)), PriorityClass(0.4, Exponential(1.0))]
    for number, run in enumerate(simulate_priorities(classes, customers=300_000, seed=3)):
        assert_agrees(run, Priority(classes).answer(number))
    several = [PriorityClass(2.0, Exponential(1.0)), PriorityClass(1.4, Exponential(1.0))]
    for number, run in enumerate(simulate_priorities(several, servers=4, customers=300_000, seed=4)):
        assert_agrees(run, Priority(several, 4).answer(number))


def test_sharing_meets_its_formula() -> None:
    speeds = [1.0, 0.7, 0.5]
    for limited in (False, True):
        run = simulate_shared(
            arrival_rate_per_s=1.1, work=1.0, speeds=speeds, limited=limited, customers=300_000, seed=5
        )
        assert_agrees(run, Sharing(1.1, 1.0, speeds, limited=limited).answer())


@pytest.mark.parametrize("law", [Constant(1.0), Gamma(1.0, 1.6), Exponential(1.0)])
def test_processor_sharing_of_any_law(law) -> None:
    queue = MG1PS(0.7, law)
    run = simulate_shared(arrival_rate_per_s=0.7, work=law, speeds=[1.0], customers=300_000, seed=6)
    low, high = run.estimates["mean_sojourn_s"].interval(CONFIDENCE)
    assert low <= queue.mean_sojourn_s <= high
    low, high = run.estimates["p99_sojourn_s"].interval(CONFIDENCE)
    assert 0.95 * low <= queue.sojourn_percentile(0.99) <= 1.05 * high


def test_two_conditional_moments_come_close_to_the_exact_percentiles() -> None:
    for load in (0.3, 0.8):
        for level in (0.5, 0.9, 0.99):
            exact = Sharing(load, 1.0, [1.0]).sojourn_percentile(level)
            assert MG1PS(load, Exponential(1.0)).sojourn_percentile(level) == pytest.approx(exact, rel=0.05)


def test_batches_meet_their_formula() -> None:
    run = simulate_batches(
        arrival_rate_per_s=1.0, fixed_s=2.0, each_s=0.3, largest=8, customers=300_000, seed=7
    )
    assert_agrees(run, Batching(1.0, 2.0, 0.3, 8).answer())


def test_simpy_gives_the_same() -> None:
    classes = [PriorityClass(0.3, Exponential(1.0)), PriorityClass(0.4, Exponential(1.0))]
    runs = [
        (
            simulate_priorities(classes, customers=3000, engine=engine)[1],
            simulate_shared(arrival_rate_per_s=0.5, work=1.0, speeds=[1.0], customers=3000, engine=engine),
            simulate_batches(arrival_rate_per_s=0.5, fixed_s=1.0, each_s=0.1, customers=3000, engine=engine),
        )
        for engine in ("fast", "simpy")
    ]
    for fast, simpy in zip(*runs, strict=True):
        for metric in METRICS:
            np.testing.assert_allclose(
                fast.estimates[metric].value, simpy.estimates[metric].value, rtol=1e-9, atol=1e-9
            )


def test_side_by_side() -> None:
    both = solve_priorities([parse_class("3/s=exp:0.1"), parse_class("9/s=exp:0.1")], customers=20_000)
    assert both[0].answer.stable
    assert both[0].simulated is not None
    assert both[1].simulated is None
    assert "unstable" in both[1].verdict
    assert "formula (exact)" in solve_shared(arrival_rate_per_s=1, work="exp:0.5", customers=20_000).verdict
    limited = solve_shared(
        arrival_rate_per_s=1, work="det:0.5", speeds=[1.0, 0.6], limited=True, customers=20_000
    )
    assert "take the simulated numbers" in limited.verdict
    batches = solve_batches(arrival_rate_per_s=1, fixed_s=0.5, each_s=0.1, customers=20_000)
    assert batches.answer.model == "M/D[n]/1 batches"
    bursts = solve(arrival_rate_per_s=2, service="gamma:0.25:0.5", arrivals="mmpp:4:0.2:3s", customers=50_000)
    assert bursts.answer.model == "MMPP/PH/1"
    assert bursts.answer.method == "exact"
    several = solve(
        arrival_rate_per_s=2, service="exp:1", servers=4, arrivals="mmpp:4:0.2:3s", customers=50_000
    )
    assert several.answer.method == "exact"


def test_bad_input() -> None:
    one = PriorityClass(0.5, Exponential(1.0))
    with pytest.raises(BadInput):
        simulate_priorities([])
    with pytest.raises(BadInput):
        simulate_priorities([one], engine="warp")
    with pytest.raises(BadInput):
        simulate_shared(arrival_rate_per_s=1, work=1, speeds=[])
    with pytest.raises(BadInput):
        simulate_batches(arrival_rate_per_s=1, fixed_s=-1, each_s=0)
    with pytest.raises(BadInput):
        parse_class("3/s")
    with pytest.raises(BadInput, match="either"):
        solve(arrival_rate_per_s=1)
    with pytest.raises(BadInput, match="only one of"):
        solve(arrival_rate_per_s=1, service="det:0.5", capacity=3)
