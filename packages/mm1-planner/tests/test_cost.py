"""Kinds of servers side by side: the cheapest that keeps the promise comes first."""

from __future__ import annotations

import pytest

from mfi_command import BadInput
from mm1_planner import parse_gpu, plan, plan_gpus
from mm1_planner.cost import cost_of


def test_the_cheapest_that_keeps_the_promise_comes_first() -> None:
    kinds = ["slow=1:exp:2", "fast=6:exp:0.2", "hopeless=0.1:det:9", "steady=2:det:0.5"]
    asked = {
        "arrival_rate_per_s": 4,
        "slo": "p95_wait<0.5, p50_sojourn<2",
        "customers": 20_000,
        "around": False,
    }
    choice = plan_gpus(kinds, **asked)
    costs = [each.cost["per_hour"] for _, each in choice.plans if each.cost]
    assert costs == sorted(costs)
    assert [gpu.name for gpu, _ in choice.plans][-1] == "hopeless"
    assert choice.best.feasible
    for gpu, answer in choice.plans[:-1]:
        alone = plan(service=gpu.service, **asked)
        assert answer.servers == alone.servers
        assert answer.cost["per_hour"] == pytest.approx(alone.servers * gpu.price_per_hour)
    assert "service alone" in choice.to_dict()[-1]["reason"]


def test_no_cost_by_request_without_requests() -> None:
    assert "per_million_requests" not in cost_of(2, 0.0, 3.0)
    assert cost_of(2, 10.0, 3.0)["per_million_requests"] == pytest.approx(6 / 36_000 * 1e6)


@pytest.mark.parametrize(
    "text", ["", "A", "A=1", "A=x:exp:1", "=1:exp:1", "A=-1:exp:1", "A=1:", "A=nan:exp:1"]
)
def test_kinds_that_are_none(text: str) -> None:
    with pytest.raises(BadInput):
        parse_gpu(text)


@pytest.mark.parametrize("kinds", [[], ["A=1:exp:1", "A=2:exp:1"]])
def test_each_kind_is_named_once(kinds: list[str]) -> None:
    with pytest.raises(BadInput, match="name each once"):
        plan_gpus(kinds, arrival_rate_per_s=1, slo="p99_wait<1")
