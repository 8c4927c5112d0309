"""Several classes on one pool: against the plain plan, and against simulations by simpy."""

from __future__ import annotations

import numpy as np
import pytest

from mfi_command import BadInput
from mm1_planner import MMc, plan, plan_classes
from mm1_planner.classes import parse_class
from mm1_planner.engine.disciplines import simulate_priority_with_simpy

BOTH = ["chat=6/s;exp:0.3;p99_wait<0.5", "batch=1/s;exp:2;p90_wait<6, mean_sojourn<9"]


def test_one_class_is_the_plain_plan() -> None:
    answer = plan_classes(["only=10/s;exp:0.3;p99_wait<0.5"], customers=100_000)
    assert answer.servers == plan(arrival_rate_per_s=10, service="exp:0.3", slo="p99_wait<0.5").servers
    assert answer.kept[0].analytic_s == pytest.approx(MMc(10, 1 / 0.3, 5).answer().p99_wait_s, rel=0.05)


def test_two_halves_of_one_traffic_are_that_traffic() -> None:
    halves = plan_classes(
        ["a=5/s;exp:0.3;p99_wait<0.5", "b=5/s;exp:0.3;p99_wait<0.5"],
        customers=200_000,
        cost_per_server_hour=2,
    )
    assert halves.servers == 5
    assert halves.cost["per_hour"] == 10
    # A pool of its own wastes what the other leaves idle.
    assert sum(halves.separate.values()) > 5


def test_the_urgent_class_needs_fewer_servers_than_order_of_arrival() -> None:
    counts = {d: plan_classes(BOTH, discipline=d, customers=100_000) for d in ("fcfs", "priority")}
    assert counts["priority"].servers < counts["fcfs"].servers
    for answer in counts.values():
        assert all(each.simulated_s < each.limit_s for each in answer.kept)
        assert any(each.with_one_less_s >= each.limit_s for each in answer.kept)


def test_the_priority_plan_holds_in_simpy() -> None:
    servers = plan_classes(BOTH, discipline="priority", customers=100_000).servers
    rng = np.random.default_rng(9)
    count = 30_000
    labels = (rng.random(count) < 1 / 7).astype(np.int64)
    services = np.where(labels == 0, rng.exponential(0.3, count), rng.exponential(2, count))
    waits, _ = simulate_priority_with_simpy(rng.exponential(1 / 7, count), services, labels, servers)
    assert np.quantile(waits[labels == 0], 0.99) < 0.5 * 1.1
    assert np.quantile(waits[labels == 1], 0.9) < 6 * 1.1


def test_what_no_number_of_servers_can_keep() -> None:
    answer = plan_classes(["a=1/s;det:2;p50_sojourn<1", "b=1/s;exp:1;p50_wait<1"])
    assert not answer.feasible
    assert "a: the service alone is 2 s" in answer.reason
    assert "keeps 100 servers busy" in plan_classes(
        ["a=50/s;exp:2;p50_wait<1"], max_servers=100
    ).reason.replace("the work of all classes ", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a=1",
        "a=1;exp:1",
        "=1;exp:1;p99_wait<1",
        "a=0;exp:1;p99_wait<1",
        "a=1;exp:1;fast",
        "a=1;x;p99_wait<1",
    ],
)
def test_classes_that_are_none(text: str) -> None:
    with pytest.raises(BadInput):
        parse_class(text)


def test_classes_are_named_once_and_the_discipline_is_known() -> None:
    with pytest.raises(BadInput, match="name each once"):
        plan_classes(["a=1;exp:1;p99_wait<9", "a=1;exp:1;p99_wait<9"])
    with pytest.raises(BadInput, match="lifo"):
        plan_classes(["a=1;exp:1;p99_wait<9"], discipline="lifo")
