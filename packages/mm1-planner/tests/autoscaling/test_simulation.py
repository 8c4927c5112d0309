"""The queue under a scaler: the plain queue where nothing scales, and courses worked by hand elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from mfi_command import BadInput
from mm1_planner import parse_slo
from mm1_planner.autoscaling.laws import Behavior, Scaler
from mm1_planner.autoscaling.schedule import rates_of, schedule_of
from mm1_planner.autoscaling.simulation import Floor, autoscale
from mm1_planner.autoscaling.study import study_autoscaling
from mm1_planner.autoscaling.traffic import servers_for
from mm1_planner.engine.reference import simulate_with_simpy
from mm1_planner.service import parse_service

FREE = Behavior()
STILL = Behavior(select="disabled")


def fixed(count: int) -> Scaler:
    return Scaler("queue", 1.0, least=count, most=count, up=STILL, down=STILL)


@pytest.mark.parametrize(("replicas", "slots"), [(1, 1), (4, 1), (2, 2)])
def test_without_scaling_it_is_the_queue_of_simpy(replicas: int, slots: int) -> None:
    rng = np.random.default_rng(replicas)
    gaps, services = rng.exponential(1.0, 1500), rng.exponential(0.8 * replicas * slots, 1500)
    waits, sojourns = simulate_with_simpy(gaps, services, replicas * slots)
    for slo, times in (("p90_wait<2", waits), ("p50_sojourn<4", sojourns)):
        goal = parse_slo(slo)
        run = autoscale(np.cumsum(gaps), services, fixed(replicas), goal, slots=slots)
        assert run.attainment == pytest.approx((times < goal.limit_s).mean(), abs=1e-12)
        assert run.measured_s == pytest.approx(np.quantile(times, goal.level, method="inverted_cdf"))
        assert run.replica_hours == pytest.approx(replicas * gaps.sum() / 3600)
        assert (run.changes, run.unfinished) == (0, 0)


def test_a_burst_worked_by_hand() -> None:
    # At 10.5 s five requests of 20 s come to one replica; at 15 s four wait, the scaler asks for four
    # replicas with a target of one waiting request each; three start and serve from 15 + 5 on.
    arrivals, services = np.full(5, 10.5), np.full(5, 20.0)
    scaler = Scaler("queue", 1.0, most=9, startup_s=5, up=FREE, down=Behavior(window_s=3600))
    run = autoscale(arrivals, services, scaler, parse_slo("p50_wait<10"), duration_s=60)
    # Waits: 0, then three of 9.5 on the new replicas, then the last when the first is free, 30.5 - 10.5.
    assert run.attainment == pytest.approx(4 / 5)
    assert run.measured_s == pytest.approx(9.5)
    assert [(step.time_s, step.replicas, step.ready, step.waiting) for step in run.steps] == [
        (0, 1, 1, 0), (15, 4, 1, 4), (30, 4, 4, 1), (45, 4, 4, 0), (60, 4, 4, 0),
    ]  # fmt: skip
    assert run.replica_hours * 3600 == pytest.approx(60 + 3 * 45)
    assert (run.changes, run.reversals, run.peak) == (1, 0, 4)


def test_a_replica_taken_away_finishes_what_it_serves() -> None:
    arrivals, services = np.zeros(2), np.full(2, 100.0)
    scaler = Scaler("queue", 1.0, least=1, most=2, up=FREE, down=FREE, startup_s=0)
    run = autoscale(arrivals, services, scaler, parse_slo("p99_sojourn<101"), initial=2, duration_s=200)
    assert run.attainment == 1.0
    # Both begin at 0 s, nothing waits at 15 s: one replica leaves, and is paid until it is done at 100 s.
    assert run.replica_hours * 3600 == pytest.approx(200 + 100)


def test_requests_without_an_answer_count_as_late() -> None:
    arrivals, services = np.arange(100.0), np.full(100, 50.0)
    run = autoscale(arrivals, services, fixed(1), parse_slo("p50_wait<1"))
    assert run.unfinished > 90
    assert run.attainment == pytest.approx(0.01)
    assert run.measured_s == np.inf
    assert not run.held


def test_idle_time_keeps_the_least() -> None:
    scaler = Scaler("arrivals", 2.0, least=3)
    run = autoscale(np.empty(0), np.empty(0), scaler, parse_slo("p99_wait<1"), duration_s=3600)
    assert (run.attainment, run.peak, run.changes) == (1.0, 3, 0)
    with pytest.raises(BadInput, match="duration"):
        autoscale(np.empty(0), np.empty(0), scaler, parse_slo("p99_wait<1"))


def test_keda_sees_what_it_read_at_its_last_poll() -> None:
    arrivals, services = np.full(20, 31.0), np.full(20, 500.0)
    free = {"most": 50, "startup_s": 0, "up": FREE, "down": FREE}
    goal, by_kind = parse_slo("p50_wait<9"), {}
    for kind in ("hpa", "keda"):
        scaler = Scaler("queue", 1.0, kind=kind, polling_s=60, **free)
        by_kind[kind] = autoscale(arrivals, services, scaler, goal, duration_s=100)
    grown = {kind: next(s.time_s for s in run.steps if s.replicas > 1) for kind, run in by_kind.items()}
    assert grown == {"hpa": 45, "keda": 60}


def test_a_schedule_leads_by_the_start_up_and_one_decision() -> None:
    scaler, law = Scaler("queue", 1.0, startup_s=100, sync_s=15), parse_service("exp:0.5")
    goal = parse_slo("p99_wait<0.5")
    entries = schedule_of(
        [2.0, 2.0, 20.0, 2.0], 600, lambda rate, most: servers_for(rate, law, goal, most), scaler
    )
    low, high = entries[0].replicas, entries[1].replicas
    assert entries == (Floor(0.0, low), Floor(1200 - 115, high), Floor(1800, low), Floor(2400, 0))
    assert high > 10 > low > 1
    assert rates_of(np.array([0.0, 1, 2, 3, 700]), 600) == [4 / 600, 1 / 600]


def test_the_study_finds_the_schedule_that_a_slow_start_needs() -> None:
    study = study_autoscaling(
        scaler=Scaler("arrivals", 1.4, startup_s=120, most=60),
        service="exp:0.5",
        slo="p99_wait<0.5",
        profile="0s=2/s,10min=20/s,20min=2/s",
    )
    assert not study.reactive.held
    assert study.scheduled.held
    assert study.foreseen
    assert study.fixed is not None
    assert study.fixed.held
    assert study.scheduled.replica_hours < study.fixed.replica_hours
    assert "with the schedule" in study.verdict


@pytest.mark.parametrize("asked", [{}, {"profile": "0s=1/s,1min=1/s", "trace": "x.csv"}])
def test_one_traffic_is_given(asked: dict[str, str]) -> None:
    with pytest.raises(BadInput, match="one of the two"):
        study_autoscaling(scaler=fixed(1), service=1, slo="p99_wait<1", **asked)


def test_a_mean_judges_no_scaler() -> None:
    with pytest.raises(BadInput, match="percentile"):
        autoscale(np.arange(5.0), np.ones(5), fixed(1), parse_slo("mean_wait<1"))
