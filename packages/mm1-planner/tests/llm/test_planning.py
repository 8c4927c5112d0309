"""Replicas for promises on TTFT and ITL."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mfi_command import BadInput
from mm1_planner import LlmSlo, Replica, draw_tokens, parse_llm_slo, plan_llm, simulate_llm
from mm1_planner.llm import planning
from mm1_planner.llm.cliff import simulated_cliff

REPLICA = Replica(0.012, 1e-4, 2e-8, 3e-5, max_batch=64, token_budget=4096)


LAWS = (("geometric:500", 91), ("geometric:150", 92))


def ask(**changes):
    question = {
        "arrival_rate_per_s": 40.0,
        "prompt_tokens": "geometric:500",
        "output_tokens": "geometric:150",
        "replica": REPLICA,
        "slos": ["p99_ttft<0.3", "mean_itl<40ms"],
    }
    return plan_llm(**(question | changes))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter simulations, where the number that they give is not what is tested."""
    monkeypatch.setattr(planning, "_REQUESTS", 4_000)
    monkeypatch.setattr(planning, "_A_REPLICA", 400)


def test_the_number_found_keeps_the_promises_on_other_draws_and_one_less_does_not() -> None:
    plan = ask()
    assert plan.feasible
    assert plan.replicas is not None
    assert plan.replicas > 1
    arrivals = np.cumsum(np.random.default_rng(9).exponential(1 / 40, 40_000))
    prompts, outputs = (draw_tokens(law, 40_000, seed=s) for law, s in LAWS)
    late = {}
    for replicas in (plan.replicas - 1, plan.replicas):
        run = simulate_llm(arrivals, prompts, outputs, REPLICA, replicas=replicas, warmup=2000)
        late[replicas] = [LlmSlo("p99_ttft_s", 0.3).measured_s(run) / 0.3, run.itl["mean_itl_s"] / 0.040]
    assert max(late[plan.replicas]) < 1.1
    assert max(late[plan.replicas - 1]) > 1.0
    # The plan's own evidence says the same.
    assert all(value < slo.limit_s for slo, value, _ in plan.slos)
    assert any(less > slo.limit_s for slo, _, less in plan.slos)
    assert "keep" in plan.verdict


def test_the_cliff_is_where_the_promise_is_missed_tenfold() -> None:
    plan = ask(slos=["p99_ttft<0.3"])
    assert plan.cliff_rate_per_s is not None
    assert plan.analytic_cliff_rate_per_s is not None
    assert plan.analytic is not None
    assert 40 < plan.cliff_rate_per_s < 1.2 * plan.replicas * plan.analytic.capacity_per_s
    assert plan.analytic_cliff_rate_per_s == pytest.approx(plan.cliff_rate_per_s, rel=0.06)
    gaps = np.random.default_rng(17).exponential(1.0, 20_000)
    prompts, outputs = (draw_tokens(law, 20_000, seed=s) for law, s in LAWS)
    for share, missed in ((0.93, False), (1.05, True)):
        arrivals = np.cumsum(gaps) / (share * plan.cliff_rate_per_s)
        run = simulate_llm(arrivals, prompts, outputs, REPLICA, replicas=plan.replicas, warmup=1000)
        assert (LlmSlo("p99_ttft_s", 0.3).measured_s(run) >= 10 * 0.3) == missed
    assert "closed form" in plan.verdict


@pytest.mark.parametrize("guess", [None, 0.5, 1.2, 2.9, 3.0, 3.1, 7.0, 50.0])
def test_the_search_for_the_cliff_ends_there_from_any_guess(guess: float | None) -> None:
    found = simulated_cliff(lambda times: times >= 3.0, guess)
    assert found is not None
    assert 3.0 <= found <= 3.0 * 1.021
    assert simulated_cliff(lambda times: False, guess) is None


def test_what_no_replica_can_do_is_said_at_once() -> None:
    hopeless = ask(slos=["p50_ttft<5ms"])
    assert not hopeless.feasible
    assert "a request alone" in hopeless.verdict
    small = ask(replica=Replica(0.012, 1e-4, kv_tokens=300), slos=["p99_ttft<10"])
    assert not small.feasible
    assert "KV cache" in small.verdict
    few = ask(max_replicas=1)
    assert not few.feasible


def test_requests_that_fit_nowhere_count_as_late() -> None:
    prompts = np.full(1000, 100)
    prompts[::50] = 10**6
    run = simulate_llm(np.arange(1000.0), prompts, np.full(1000, 3), Replica(0.01, kv_tokens=1000))
    assert run.unserved == 20
    assert math.isinf(LlmSlo("p99_ttft_s", 1.0).measured_s(run))
    assert math.isfinite(LlmSlo("p95_ttft_s", 1.0).measured_s(run))
    assert math.isinf(LlmSlo("p99_itl_s", 1.0).measured_s(run))


@pytest.mark.usefixtures("few")
def test_where_nothing_is_decoded_no_time_between_tokens_can_be_late() -> None:
    plan = ask(output_tokens=1, slos=["p99_itl<1ms", "p99_tpot<1ms"])
    assert plan.feasible


@pytest.mark.usefixtures("few")
def test_measured_lengths_are_drawn_in_pairs() -> None:
    prompts, outputs = np.array([10, 1000]), np.array([1000, 10])
    plan = ask(prompt_tokens=prompts, output_tokens=outputs, slos=["p90_ttft<2"])
    assert plan.feasible


@pytest.mark.parametrize("text", ["p99_wait<1", "p98_ttft<1", "p99_ttft", "p99_ttft<-1", "p99_ttft<soon", ""])
def test_promises_that_are_none(text: str) -> None:
    with pytest.raises(BadInput):
        parse_llm_slo(text)


@pytest.mark.parametrize(
    "law", ["0", "nan", "-3", "geometric:0.5", "geometric", "lognormal:5", "poisson:3", "1e30", "x"]
)
def test_laws_that_are_none(law: str) -> None:
    with pytest.raises(BadInput):
        draw_tokens(law, 10)


def test_laws_have_their_means() -> None:
    assert draw_tokens("512", 5).tolist() == [512] * 5
    assert draw_tokens("geometric:50", 40_000).mean() == pytest.approx(50, rel=0.02)
    drawn = draw_tokens("lognormal:500:1.5", 200_000)
    assert drawn.mean() == pytest.approx(500, rel=0.03)
    assert drawn.std() / drawn.mean() == pytest.approx(1.5, rel=0.1)


def test_no_promise_is_refused() -> None:
    with pytest.raises(BadInput, match="promise"):
        ask(slos=[])


@pytest.mark.usefixtures("few")
def test_a_trace_is_replayed_as_it_came(tmp_path) -> None:
    rng = np.random.default_rng(2)
    times = np.sort(np.concatenate([rng.uniform(at, at + 1, 150) for at in range(0, 200, 20)]))
    path = tmp_path / "bursts.csv"
    rows = [
        f"{time},{p},{o}"
        for time, p, o in zip(times, rng.geometric(1 / 500, 1500), rng.geometric(1 / 150, 1500), strict=True)
    ]
    path.write_text("time,prompt_tokens,output_tokens\n" + "\n".join(rows))
    replayed = plan_llm(replica=REPLICA, slos=["p99_ttft<0.3"], trace=path)
    smooth = ask(arrival_rate_per_s=replayed.arrival_rate_per_s, slos=["p99_ttft<0.3"])
    # The same rate in bursts of a twentieth of the time needs several times the replicas.
    assert replayed.replicas is not None
    assert smooth.replicas is not None
    assert replayed.replicas >= 3 * smooth.replicas


def test_traffic_is_given_once() -> None:
    with pytest.raises(BadInput, match="no traffic"):
        plan_llm(replica=REPLICA, slos=["p99_ttft<1"])
    with pytest.raises(BadInput, match="either"):
        ask(trace="requests.csv")
