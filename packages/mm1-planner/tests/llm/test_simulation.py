"""Continuous batching: the compiled engine is the readable one, and both obey what is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfi_command import BadInput
from mm1_planner import Replica, simulate_llm, tabulated
from mm1_planner.llm.reference import simulate_by_reading


def requests(seed: int, count: int, rate_per_s: float, prompt: float = 200, output: float = 50):
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(1 / rate_per_s, count))
    return arrivals, rng.geometric(1 / prompt, count), rng.geometric(1 / output, count)


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32),
    rate=st.floats(0.5, 40),
    max_batch=st.integers(1, 16),
    budget=st.sampled_from([0, 1, 40, 500, 8000]),
    kv_tokens=st.sampled_from([400, 900, 3000, 10**6]),
)
def test_compiled_and_readable_give_the_same_times(
    seed: int, rate: float, max_batch: int, budget: int, kv_tokens: int
) -> None:
    replica = Replica(0.01, 1e-4, 1e-6, 2e-5, max_batch, max_batch + budget, kv_tokens)
    arrivals, prompts, outputs = requests(seed, 60, rate)
    times = simulate_by_reading(arrivals, prompts, outputs, replica)
    run = simulate_llm(arrivals, prompts, outputs, replica)
    firsts = np.array([each[0] if each else math.nan for each in times])
    lasts = np.array([each[-1] if each else math.nan for each in times])
    np.testing.assert_array_equal(run.ttft_s, firsts - arrivals)
    np.testing.assert_array_equal(run.e2e_s, lasts - arrivals)
    # Nothing is lost, whatever was preempted: every request that fits gets each of its tokens.
    fits = prompts + outputs - 1 <= kv_tokens
    assert [len(each) for each in times] == list(np.where(fits, outputs, 0))
    assert run.unserved == np.count_nonzero(~fits)


def test_one_request_by_hand() -> None:
    replica = Replica(alpha_s=0.01, beta_s=0.001, gamma_s=1e-5, delta_s=1e-4, max_batch=4, token_budget=100)
    run = simulate_llm(np.array([1.0]), np.array([250]), np.array([3]), replica)
    # Chunks of 100, 100 and 50 tokens, then two decodes with 250 and 251 tokens of context.
    first = 3 * 0.01 + 250e-4
    assert run.ttft_s[0] == pytest.approx(first, rel=1e-12)
    assert run.e2e_s[0] == pytest.approx(first + 2 * 0.011 + 501e-5, rel=1e-12)
    assert run.iterations == 5
    assert run.busy == pytest.approx(1.0)


def test_the_cache_never_holds_more_than_it_can_and_decodes_go_on() -> None:
    replica = Replica(0.01, 1e-4, 1e-7, 2e-5, max_batch=8, token_budget=128, kv_tokens=900)
    arrivals, prompts, outputs = requests(0, 3000, 5.0)
    run = simulate_llm(arrivals, prompts, outputs, replica)
    assert run.preemptions > 0
    assert run.mean_kv_tokens <= 900
    assert run.unserved == np.count_nonzero(prompts + outputs - 1 > 900)


def test_a_callable_that_is_linear_is_kept_exactly() -> None:
    replica = Replica(0.01, 1e-4, 1e-7, 2e-5, max_batch=64, token_budget=512, kv_tokens=100_000)
    table = tabulated(replica.iteration_s, max_batch=64, token_budget=512, kv_tokens=100_000)
    work = requests(3, 4000, 12.0)
    plain, tabled = simulate_llm(*work, replica), simulate_llm(*work, table)
    np.testing.assert_allclose(tabled.e2e_s, plain.e2e_s, rtol=1e-6)


def test_tokens_balance_and_intervals_enclose_the_whole() -> None:
    arrivals, prompts, outputs = requests(5, 20_000, 20.0)
    run = simulate_llm(arrivals, prompts, outputs, Replica(0.01, 1e-4, 1e-7, 2e-5), warmup=1000)
    # Little: decoding sequences are the rate of tokens after the first times the time between them.
    rate = (outputs - 1).sum() / (arrivals[-1] - arrivals[0])
    assert run.mean_batch * run.busy == pytest.approx(rate * run.itl["mean_itl_s"], rel=0.02)
    assert run.itl["p50_itl_s"] < run.itl["p99_itl_s"]
    low, high = run.estimates["mean_ttft_s"].interval()
    assert low < np.mean(run.ttft_s) < high


@pytest.mark.parametrize("routing", ["round-robin", "random", "least-requests"])
def test_more_replicas_serve_sooner(routing: str) -> None:
    work = requests(6, 6000, 60.0)
    replica = Replica(0.02, 2e-4, 1e-7, 5e-5, max_batch=32)
    few, many = (simulate_llm(*work, replica, replicas=n, routing=routing, seed=1) for n in (2, 4))
    assert many.estimates["mean_e2e_s"].value < few.estimates["mean_e2e_s"].value
    assert few.busy > many.busy


def test_least_requests_beats_chance() -> None:
    work = requests(7, 20_000, 55.0)
    replica = Replica(0.02, 2e-4, 1e-7, 5e-5, max_batch=32)
    chance, least = (
        simulate_llm(*work, replica, replicas=3, routing=r) for r in ("random", "least-requests")
    )
    assert least.estimates["p99_ttft_s"].value < chance.estimates["p99_ttft_s"].value


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"alpha_s": math.nan}, "alpha_s"),
        ({"alpha_s": -1.0}, "alpha_s"),
        ({"alpha_s": 0.0, "beta_s": 0.0}, "takes no time"),
        ({"max_batch": 0}, "max_batch"),
        ({"token_budget": 3, "max_batch": 4}, "token_budget"),
        ({"kv_tokens": 1e30}, "kv_tokens"),
    ],
)
def test_absurd_replicas_are_refused(change: dict[str, float], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        Replica(**({"alpha_s": 0.01} | change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arrivals", "prompts", "outputs", "words"),
    [
        ([1.0, 0.5], [1, 1], [1, 1], "sorted"),
        ([0.0, math.nan], [1, 1], [1, 1], "sorted"),
        ([0.0, 1.0], [1, 0], [1, 1], "prompt"),
        ([0.0, 1.0], [1, 1], [1, 1.5], "output"),
        ([0.0, 1.0], [1], [1, 1], "shapes"),
        ([], [], [], "shapes"),
    ],
)
def test_absurd_requests_are_refused(arrivals, prompts, outputs, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        simulate_llm(np.array(arrivals), np.array(prompts), np.array(outputs), Replica(0.01))


def test_a_callable_that_answers_nonsense_is_refused() -> None:
    with pytest.raises(BadInput, match="iteration time of"):
        tabulated(lambda decodes, context, prefill: math.nan)
