"""The laws of the HPA and of KEDA, on examples worked by hand from the documents of Kubernetes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from mm1_planner.autoscaling.laws import Behavior, Controller, Policy, Scaler, parse_policy

FREE = Behavior()


def scaler(**changes: object) -> Scaler:
    """On concurrency with a target of 10 and no brakes."""
    given_values = {"metric": "concurrency", "target": 10.0, "up": FREE, "down": FREE} | changes
    return Scaler(**given_values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("replicas", "total", "wanted"),
    [
        (4, 80, 8),  # twice the target: twice the replicas
        (4, 20, 2),  # half
        (4, 43.9, 4),  # within a tenth of the target
        (4, 36.1, 4),
        (4, 44.1, 5),  # beyond it, rounded up
        (1, 30, 3),
        (4, 0, 1),  # never below the least
        (50, 5000, 100),  # never above the most
    ],
)
def test_replicas_are_the_metric_over_its_target(replicas: int, total: float, wanted: int) -> None:
    assert Controller(scaler()).decide(0.0, replicas, total) == wanted


@given(st.integers(1, 90), st.floats(0, 2000))
def test_without_brakes_one_decision_settles(replicas: int, total: float) -> None:
    controller = Controller(scaler())
    once = controller.decide(0.0, replicas, total)
    assert controller.decide(15.0, once, total) == once


def test_downwards_the_highest_recommendation_of_the_window_counts() -> None:
    controller = Controller(scaler(down=Behavior(window_s=300)))
    seen = [controller.decide(15.0 * i, 8, 80 if i == 0 else 20) for i in range(25)]
    # The 80 of time 0 stands until it is 300 s old.
    assert seen[:20] == [8] * 20
    assert seen[20] == 2


def test_a_new_scaler_does_not_drop_what_it_finds() -> None:
    controller = Controller(scaler(down=Behavior(window_s=300)))
    assert [controller.decide(t, 8, 0) for t in (0.0, 150.0, 299.0, 300.0)] == [8, 8, 8, 1]


def test_upwards_the_lowest_recommendation_of_the_window_counts() -> None:
    controller = Controller(scaler(up=Behavior(window_s=60)))
    assert controller.decide(0.0, 2, 20) == 2
    assert [controller.decide(15.0 * i, 2, 90) for i in range(1, 6)] == [2, 2, 2, 9, 9]


def test_the_default_doubles_or_adds_four_pods_in_15_s() -> None:
    up = Behavior(0, (Policy("percent", 100, 15), Policy("pods", 4, 15)))
    sizes, controller = [1], Controller(scaler(up=up))
    for i in range(6):
        sizes.append(controller.decide(15.0 * i, sizes[-1], 1000))
    assert sizes == [1, 5, 10, 20, 40, 80, 100]


def test_a_policy_counts_what_its_period_has_seen() -> None:
    up = Behavior(0, (Policy("pods", 4, 60),))
    sizes, controller = [1], Controller(scaler(up=up))
    for i in range(9):
        sizes.append(controller.decide(15.0 * i, sizes[-1], 1000))
    assert sizes == [1, 5, 5, 5, 5, 9, 9, 9, 9, 13]


def test_the_least_change_and_no_change_can_be_selected() -> None:
    both = (Policy("percent", 100, 15), Policy("pods", 4, 15))
    assert Controller(scaler(up=Behavior(0, both, "min"))).decide(0.0, 10, 1000) == 14
    assert Controller(scaler(up=Behavior(0, both, "disabled"))).decide(0.0, 10, 1000) == 10
    down = (Policy("percent", 50, 15), Policy("pods", 2, 15))
    assert Controller(scaler(down=Behavior(0, down, "max"))).decide(0.0, 10, 0) == 5
    assert Controller(scaler(down=Behavior(0, down, "min"))).decide(0.0, 10, 0) == 8
    assert Controller(scaler(down=Behavior(0, down, "disabled"))).decide(0.0, 10, 0) == 10


def test_keda_goes_to_zero_after_its_cooldown_and_wakes_with_one() -> None:
    controller = Controller(scaler(kind="keda", least=0, cooldown_s=100))
    assert controller.decide(0.0, 3, 30) == 3
    assert [controller.decide(t, 3, 0) for t in (60.0, 99.0)] == [1, 1]
    assert controller.decide(100.0, 1, 0) == 0
    assert controller.decide(115.0, 0, 0) == 0
    assert controller.decide(130.0, 0, 55) == 1
    assert controller.decide(145.0, 1, 55) == 6


def test_a_schedule_is_a_floor_that_no_brake_delays() -> None:
    slow = Behavior(300, (Policy("pods", 1, 60),))
    assert Controller(scaler(up=slow)).decide(0.0, 2, 20, floor=7) == 7
    assert Controller(scaler(most=5)).decide(0.0, 2, 20, floor=7) == 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"metric": "hope"},
        {"kind": "vpa"},
        {"target": 0.0},
        {"metric": "utilization", "target": 70.0},
        {"least": 0},
        {"least": 9, "most": 8},
        {"sync_s": 0.0},
        {"startup_s": -1.0},
        {"tolerance": float("nan")},
    ],
)
def test_laws_that_are_none(wrong: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        scaler(**wrong)


@pytest.mark.parametrize(
    "text", ["", "pods", "pods:4", "pods:x:15", "pods:0:15", "cores:1:15", "pods:4:0", "pods:-1:9"]
)
def test_policies_that_are_none(text: str) -> None:
    with pytest.raises(BadInput):
        parse_policy(text)
