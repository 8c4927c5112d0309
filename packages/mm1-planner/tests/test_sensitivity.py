"""What more traffic does to a plan, against plans made for more traffic."""

from __future__ import annotations

import math

import pytest

from mm1_planner import MMc, plan


def test_headroom_is_where_the_formula_says_the_promise_breaks() -> None:
    answer = plan(arrival_rate_per_s=10, service="exp:0.3", slo="p99_wait<0.5", customers=100_000)
    found = answer.sensitivity
    rates = [10 * (1 + step / 1000) for step in range(1000)]
    exact = next(rate for rate in rates if MMc(rate, 1 / 0.3, answer.servers).answer().p99_wait_s >= 0.5)
    assert found.headroom == pytest.approx(exact / 10, abs=0.03)
    assert [each.of_limit for each in found.rate] == sorted(each.of_limit for each in found.rate)
    at_one = next(each for each in found.rate if each.factor == 1)
    assert at_one.of_limit == pytest.approx(answer.analytic.p99_wait_s / 0.5, rel=0.1)
    assert math.isinf(found.rate[-1].of_limit)  # 20/s of 0.3 s keep six servers busy, there are five


def test_servers_by_rate_are_the_plans_of_those_rates() -> None:
    needed = plan(
        arrival_rate_per_s=10, service="det:0.3", slo="p99_wait<0.2", customers=20_000
    ).sensitivity.needed
    for factor in (0.5, 1.5):
        servers = next(each.servers for each in needed if each.factor == factor)
        there = plan(arrival_rate_per_s=10 * factor, service="det:0.3", slo="p99_wait<0.2", customers=20_000)
        assert servers == there.analytic_servers


def test_slower_service_is_worse_than_more_traffic_for_a_sojourn() -> None:
    found = plan(arrival_rate_per_s=10, service="exp:0.3", slo="p90_sojourn<1", customers=50_000).sensitivity
    for rate, service in zip(found.rate, found.service, strict=True):
        assert rate.factor <= 1 or service.of_limit >= rate.of_limit
