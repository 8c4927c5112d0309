"""Two siblings joined by data: mm1-planner plans with the times that latency-predictor gives."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from latency_predictor import predict
from mm1_planner import llm_answer, plan_llm, simulate_llm, tabulated

MODEL, DEVICE, STACK = "opt-1.3b", "H100-SXM5-80GB", "cuda-graph"


@cache
def decode_s(batch: int, context: int) -> float:
    found = predict(MODEL, device=DEVICE, stack=STACK, batch=batch, prompt=max(1, context), output=2)
    return found.decode_step_s


@cache
def prefill_s(tokens: int) -> float:
    return predict(MODEL, device=DEVICE, stack=STACK, batch=1, prompt=tokens, output=1).prefill_s


def iteration_s(decodes: int, context_tokens: int, prefill_tokens: int) -> float:
    """Prompts and decodes one after the other, as an engine runs them that does not mix them."""
    decoding = decode_s(decodes, min(2000, context_tokens // decodes)) if decodes else 0.0
    return decoding + (prefill_s(prefill_tokens) if prefill_tokens else 0.0)


def test_predicted_times_are_planned_with() -> None:
    replica = tabulated(iteration_s, max_batch=64, token_budget=2048, kv_tokens=64 * 1000, points=7)
    assert replica.iteration_s(64, 64 * 1000, 0) == pytest.approx(decode_s(64, 1000))
    rng = np.random.default_rng(0)
    prompts, outputs = rng.geometric(1 / 200, 6000), rng.geometric(1 / 60, 6000)
    capacity = llm_answer(1e-6, prompts, outputs, replica).capacity_per_s
    answer = llm_answer(0.5 * capacity, prompts, outputs, replica)
    arrivals = np.cumsum(rng.exponential(2 / capacity, 6000))
    run = simulate_llm(arrivals, prompts, outputs, replica, warmup=600)
    assert answer.mean_itl_s == pytest.approx(run.itl["mean_itl_s"], rel=0.1)
    assert not answer.declared
    plan = plan_llm(
        arrival_rate_per_s=1.5 * capacity,
        prompt_tokens=prompts,
        output_tokens=outputs,
        replica=replica,
        slos=["p95_ttft<0.5"],
    )
    assert plan.replicas is not None
    assert plan.replicas >= 2
