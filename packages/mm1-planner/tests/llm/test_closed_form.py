"""The closed form of continuous batching against its simulation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from mfi_command import BadInput
from mm1_planner import Replica, llm_answer, simulate_llm, tabulated

PLAIN = Replica(0.01, 1e-4, 2e-8, 3e-5)
CASES = {
    "light": (PLAIN, 0.2, "geometric"),
    "heavy": (PLAIN, 0.85, "geometric"),
    "fixed lengths": (PLAIN, 0.7, "fixed"),
    "much prefill": (Replica(0.008, 5e-5, 5e-9, 8e-5), 0.8, "geometric"),
    "small batch": (Replica(0.01, 1e-4, 2e-8, 3e-5, max_batch=12), 0.8, "geometric"),
    "swift": (Replica(0.001, 2e-4, 2e-8, 3e-5), 0.6, "geometric"),
    "long context": (Replica(0.01, 1e-5, 1e-7, 2e-5), 0.7, "geometric"),
    "cut prompts": (Replica(0.02, 1e-4, 2e-8, 4e-5, token_budget=2048), 0.7, "geometric"),
    "together": (Replica(0.01, 1e-4, 2e-8, 6e-5, max_batch=24), 0.8, "fixed"),
}
REQUESTS = 24_000


def lengths(kind: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    if kind == "fixed":
        return np.full(count, 600), np.full(count, 120)
    rng = np.random.default_rng(1)
    return rng.geometric(1 / 600, count), rng.geometric(1 / 120, count)


@pytest.mark.parametrize("name", CASES)
def test_means_agree_with_the_simulation(name: str) -> None:
    replica, load, kind = CASES[name]
    prompts, outputs = lengths(kind, REQUESTS)
    rate = load * llm_answer(1e-6, prompts, outputs, replica).capacity_per_s
    answer = llm_answer(rate, prompts, outputs, replica)
    assert answer.declared
    gaps = np.random.default_rng(2).exponential(1.0, REQUESTS)
    run = simulate_llm(np.cumsum(gaps / gaps.mean()) / rate, prompts, outputs, replica, warmup=2000)
    assert answer.mean_itl_s == pytest.approx(run.itl["mean_itl_s"], rel=0.03)
    low, high = run.estimates["mean_ttft_s"].interval()
    assert 0.85 * low <= answer.mean_ttft_s <= 1.15 * high
    assert answer.mean_e2e_s == pytest.approx(run.estimates["mean_e2e_s"].value, rel=0.04)
    assert answer.mean_batch == pytest.approx(run.mean_batch * run.busy, rel=0.04)


def test_the_variance_of_outputs_counts_in_front_of_a_full_batch() -> None:
    replica = Replica(0.01, 1e-4, 2e-8, 3e-5, max_batch=12)
    prompts = np.full(REQUESTS, 300)
    found = []
    for parts in (4, 1):  # sums of geometric numbers: scv 1/4 and 1
        outputs = np.random.default_rng(5).geometric(parts / 120, (REQUESTS, parts)).sum(axis=1)
        rate = 0.84 * llm_answer(1e-6, prompts, outputs, replica).capacity_per_s
        answer = llm_answer(rate, prompts, outputs, replica)
        arrivals = np.cumsum(np.random.default_rng(6).exponential(1 / rate, REQUESTS))
        run = simulate_llm(arrivals, prompts, outputs, replica, warmup=2000)
        assert answer.declared
        low, high = run.estimates["mean_ttft_s"].interval(0.99)
        assert 0.85 * low <= answer.mean_ttft_s <= 1.15 * high
        found.append(answer.mean_ttft_s)
    # A closed form that does not see the variance gives both the same wait.
    assert found[1] > 1.3 * found[0]


def test_where_the_closed_form_says_to_simulate() -> None:
    prompts, outputs = lengths("geometric", 1000)
    capacity = llm_answer(1e-6, prompts, outputs, PLAIN).capacity_per_s
    assert llm_answer(0.85 * capacity, prompts, outputs, PLAIN).declared
    assert not llm_answer(0.97 * capacity, prompts, outputs, PLAIN).declared
    short = replace(PLAIN, kv_tokens=20_000)
    capacity = llm_answer(1e-6, prompts, outputs, short).capacity_per_s
    assert llm_answer(0.1 * capacity, prompts, outputs, short).declared
    assert not llm_answer(0.8 * capacity, prompts, outputs, short).declared
    table = tabulated(PLAIN.iteration_s, kv_tokens=500_000)
    assert not llm_answer(1.0, prompts, outputs, table).declared


@pytest.mark.parametrize(("name", "limit"), [("swift", "compute"), ("small batch", "batch")])
def test_the_capacity_is_where_the_simulation_stops_keeping_up(name: str, limit: str) -> None:
    replica, _, kind = CASES[name]
    prompts, outputs = lengths(kind, REQUESTS)
    answer = llm_answer(1e-6, prompts, outputs, replica)
    assert answer.limited_by == limit
    gaps = np.random.default_rng(3).exponential(1.0, prompts.size)
    slow, fast = (
        simulate_llm(np.cumsum(gaps) / (share * answer.capacity_per_s), prompts, outputs, replica)
        for share in (0.93, 1.10)
    )
    # Past the capacity the wait grows with the length of the run; below it, it does not.
    thirds = [np.array_split(run.e2e_s, 3) for run in (slow, fast)]
    assert thirds[0][2].mean() < 1.6 * thirds[0][1].mean()
    assert thirds[1][2].mean() > 1.3 * thirds[1][1].mean()


def test_the_second_moment_of_the_outputs_counts() -> None:
    rng = np.random.default_rng(4)
    replica = Replica(0.01, 1e-5, 1e-7, 1e-5)
    even, uneven = (
        np.full(50_000, 300),
        np.maximum(rng.lognormal(math.log(300) - 0.72, 1.2, 50_000).round(), 1),
    )
    prompts = np.full(50_000, 200)
    assert uneven.mean() == pytest.approx(300, rel=0.03)
    rates = [llm_answer(1e-6, prompts, outputs, replica).capacity_per_s for outputs in (even, uneven)]
    assert rates[1] < 0.75 * rates[0]


def test_a_table_of_a_linear_time_gives_the_same() -> None:
    table = tabulated(PLAIN.iteration_s, kv_tokens=500_000)
    prompts, outputs = lengths("geometric", 5000)
    plain, tabled = (llm_answer(2.0, prompts, outputs, replica) for replica in (PLAIN, table))
    assert tabled.mean_itl_s == pytest.approx(plain.mean_itl_s, rel=1e-3)
    assert tabled.mean_ttft_s == pytest.approx(plain.mean_ttft_s, rel=1e-3)


def test_overload_is_said_and_never_negative() -> None:
    prompts, outputs = lengths("fixed", 10)
    answer = llm_answer(1e6, prompts, outputs, PLAIN)
    assert not answer.stable
    assert math.isinf(answer.mean_ttft_s)
    assert 0 < answer.capacity_per_s < 1e6


@pytest.mark.parametrize(
    ("rate", "prompts", "words"),
    [
        (0.0, [5.0], "rate"),
        (math.nan, [5.0], "rate"),
        (1.0, [0.0], "tokens"),
        (1.0, [math.inf], "tokens"),
        (1.0, [], "shapes"),
    ],
)
def test_absurd_input_is_refused(rate: float, prompts: list[float], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        llm_answer(rate, np.array(prompts), np.ones(len(prompts)), PLAIN)
