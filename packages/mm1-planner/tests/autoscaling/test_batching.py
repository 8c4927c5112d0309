"""Replicas that batch under a scaler: the plain fleet where nothing scales, and a course worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mfi_command import BadInput
from mm1_planner import Replica, parse_llm_slo, simulate_llm
from mm1_planner.autoscaling.laws import Behavior, Scaler
from mm1_planner.autoscaling.simulation import autoscale_llm
from mm1_planner.autoscaling.study import study_autoscaling

FREE, STILL = Behavior(), Behavior(select="disabled")
REPLICA = Replica(0.01, 1e-4, 1e-7, 3e-5, max_batch=16, kv_tokens=40_000)


def requests(count: int, rate_per_s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(count)
    arrivals = np.cumsum(rng.exponential(1 / rate_per_s, count))
    return arrivals, rng.geometric(1 / 300, count), rng.geometric(1 / 80, count)


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("promise", ["p90_ttft<0.3", "p50_e2e<2", "p90_tpot<20ms"])
def test_without_scaling_it_is_the_simulation_of_a_fixed_fleet(replicas: int, promise: str) -> None:
    work, goal = requests(800, 5.0 * replicas), parse_llm_slo(promise)
    whole = simulate_llm(*work, REPLICA, replicas=replicas, routing="least-requests")
    fixed = Scaler("queue", 1.0, least=replicas, most=replicas, up=STILL, down=STILL)
    run = autoscale_llm(*work, REPLICA, fixed, goal)
    several = np.maximum(work[2] - 1, 1)
    times = {"ttft": whole.ttft_s, "e2e": whole.e2e_s, "tpot": (whole.e2e_s - whole.ttft_s) / several}
    assert run.attainment == pytest.approx(float((times[goal.what] < goal.limit_s).mean()), abs=1e-12)
    assert run.replica_hours == pytest.approx(replicas * work[0][-1] / 3600)
    assert (run.changes, run.unfinished) == (0, 0)


def test_a_burst_worked_by_hand() -> None:
    # Iterations of 1 s. At 10.5 s six requests of 20 tokens come to one replica with two places: it takes the
    # first at once and another a second later, four wait at 15 s, and four replicas are asked for. What waits
    # stays where it is: new replicas serve only the two requests of 40 s.
    slow = Replica(1.0, max_batch=2)
    arrivals = np.array([10.5] * 6 + [40.0] * 2)
    scaler = Scaler("queue", 1.0, most=9, startup_s=5, up=FREE, down=Behavior(window_s=3600))
    run = autoscale_llm(
        arrivals, np.ones(8), np.full(8, 20), slow, scaler, parse_llm_slo("p50_ttft<2.5"), duration_s=90
    )
    assert [(step.time_s, step.replicas, step.ready, step.waiting) for step in run.steps[:4]] == [
        (0, 1, 1, 0), (15, 4, 1, 4), (30, 4, 4, 4), (45, 4, 4, 2),
    ]  # fmt: skip
    assert run.attainment == pytest.approx(4 / 8)
    assert run.replica_hours * 3600 == pytest.approx(90 + 3 * 75)


def test_a_replica_taken_away_finishes_what_it_holds() -> None:
    slow = Replica(1.0, max_batch=2)
    scaler = Scaler("queue", 1.0, least=1, most=2, up=FREE, down=FREE, startup_s=0)
    goal = parse_llm_slo("p99_e2e<101")
    run = autoscale_llm(
        np.zeros(2), np.ones(2), np.full(2, 100), slow, scaler, goal, initial=2, duration_s=200
    )
    assert run.attainment == 1.0
    assert run.replica_hours * 3600 == pytest.approx(200 + 100)


def test_from_zero_requests_wait_outside_until_a_replica_is_ready() -> None:
    scaler = Scaler("queue", 1.0, least=0, most=3, kind="keda", startup_s=20, polling_s=15, up=FREE)
    run = autoscale_llm(
        np.array([1.0]), np.ones(1), np.ones(1), Replica(1.0), scaler, parse_llm_slo("p50_ttft<99"),
        initial=0, duration_s=60,
    )  # fmt: skip
    # Seen at 15 s, ready at 35 s, one iteration of a second.
    assert run.measured_s == pytest.approx(35 + 1 - 1)
    assert [step.waiting for step in run.steps] == [0, 1, 1, 0, 0]


@pytest.mark.parametrize("metric", ["queue", "concurrency", "arrivals", "utilization"])
def test_each_metric_adds_replicas_in_a_rush_and_takes_them_away(metric: str) -> None:
    arrivals = np.sort(np.random.default_rng(1).uniform(100, 400, 6000))
    prompts, outputs = np.full(6000, 300), np.full(6000, 80)
    target = {"queue": 2.0, "concurrency": 10.0, "arrivals": 5.0, "utilization": 0.08}[metric]
    scaler = Scaler(metric, target, most=20, startup_s=15, down=Behavior(60))
    run = autoscale_llm(arrivals, prompts, outputs, REPLICA, scaler, parse_llm_slo("p95_ttft<1"),
                        duration_s=900)  # fmt: skip
    sizes = {step.time_s: step.replicas for step in run.steps}
    assert sizes[90.0] == 1
    assert max(sizes.values()) >= 3
    assert sizes[900.0] == 1
    assert run.unfinished == 0


def test_the_study_finds_the_schedule_that_a_slow_start_needs() -> None:
    study = study_autoscaling(
        scaler=Scaler("concurrency", 10.0, startup_s=120, most=30),
        service="llm:alpha=10ms,beta=100us,delta=30us,max_batch=32",
        prompt_tokens="geometric:300",
        output_tokens="geometric:80",
        slo="p95_ttft<0.5",
        profile="0s=10/s,3min=100/s,6min=10/s",
    )
    assert not study.reactive.held
    assert study.scheduled.held
    assert study.scheduled.replica_hours < study.reactive.replica_hours
    assert study.schedule[0].replicas < study.schedule[1].replicas


SERVICE = "llm:alpha=1s"
LENGTHS = {"prompt_tokens": 5, "output_tokens": 5}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"service": SERVICE, "slo": "p99_ttft<9"}, "lengths"),
        ({"service": SERVICE, "slo": "p99_wait<9", **LENGTHS}, "SLO"),
        ({"service": SERVICE, "slo": "p99_itl<9", **LENGTHS}, "tpot"),
        ({"service": SERVICE, "slo": "mean_ttft<9", **LENGTHS}, "percentile"),
        ({"service": SERVICE, "slo": "p99_ttft<9", "slots": 2, **LENGTHS}, "slots"),
        ({"service": SERVICE, "slo": "p99_ttft<9", **LENGTHS, "metric": "utilization"}, "kv_tokens"),
        ({"service": "1", "slo": "p99_wait<9", **LENGTHS}, "llm"),
    ],
)
def test_what_cannot_be_asked(asked: dict[str, object], words: str) -> None:
    scaler = Scaler(str(asked.pop("metric", "queue")), 0.5, most=2)
    with pytest.raises(BadInput, match=words):
        study_autoscaling(scaler=scaler, profile="0s=1/s,1min=1/s", **asked)  # type: ignore[arg-type]
