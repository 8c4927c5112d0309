"""What holds for every queue, whatever its numbers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfi_command import BadInput
from mm1_planner import LEVELS, METRICS, MG1, MM1, Constant, Exponential, Gamma, MGc, MMc, MMcK, erlang_b
from mm1_planner.models.answer import Answer

rates = st.floats(1e-3, 1e3)
loads = st.floats(0.01, 0.999)
servers = st.integers(1, 300)


def assert_little(answer: Answer, rate: float) -> None:
    let_in = rate * (1 - answer.blocking)
    assert answer.mean_in_system == pytest.approx(let_in * answer.mean_sojourn_s, rel=1e-9)
    assert answer.mean_in_queue == pytest.approx(let_in * answer.mean_wait_s, rel=1e-9, abs=1e-300)


@given(service_rate=rates, load=loads, count=servers)
def test_mmc_obeys_little_and_orders_its_percentiles(service_rate: float, load: float, count: int) -> None:
    rate = load * count * service_rate
    answer = MMc(rate, service_rate, count).answer()
    assert_little(answer, rate)
    assert answer.mean_in_system - answer.mean_in_queue == pytest.approx(load * count, rel=1e-9)
    for what in ("wait", "sojourn"):
        times = [getattr(answer, f"{level}_{what}_s") for level in LEVELS]
        assert times == sorted(times)
        assert times[0] >= 0


@given(service_rate=rates, load=loads)
def test_one_server_of_mmc_is_mm1(service_rate: float, load: float) -> None:
    one, many = (
        MM1(load * service_rate, service_rate).answer(),
        MMc(load * service_rate, service_rate, 1).answer(),
    )
    for metric in METRICS:
        expected = getattr(one, metric)
        # Next to the atom the percentile is a small difference of logarithms.
        assert getattr(many, metric) == pytest.approx(expected, rel=1e-9, abs=1e-12 * one.mean_sojourn_s), (
            metric
        )


@given(service_rate=rates, load=loads, count=st.integers(1, 60))
def test_a_server_more_never_lengthens_anything(service_rate: float, load: float, count: int) -> None:
    rate = load * count * service_rate
    few, more = MMc(rate, service_rate, count).answer(), MMc(rate, service_rate, count + 1).answer()
    for metric in METRICS:
        assert getattr(more, metric) <= getattr(few, metric) * (1 + 1e-12), metric


@given(service_rate=rates, low=loads, high=loads, count=st.integers(1, 60))
def test_more_load_never_shortens_anything(service_rate: float, low: float, high: float, count: int) -> None:
    low, high = sorted((low, high))
    light = MMc(low * count * service_rate, service_rate, count).answer()
    heavy = MMc(high * count * service_rate, service_rate, count).answer()
    for metric in METRICS:
        assert getattr(light, metric) <= getattr(heavy, metric) * (1 + 1e-12), metric


@given(service_rate=rates, load=st.floats(0.01, 5), count=st.integers(1, 40), room=st.integers(0, 40))
def test_finite_room_obeys_little_at_any_load(
    service_rate: float, load: float, count: int, room: int
) -> None:
    rate = load * count * service_rate
    answer = MMcK(rate, service_rate, count, count + room).answer()
    assert_little(answer, rate)
    assert 0 < answer.blocking < 1
    assert answer.utilization == pytest.approx(load * (1 - answer.blocking), rel=1e-9)
    if room == 0:
        assert answer.blocking == pytest.approx(erlang_b(load * count, count), rel=1e-9)
        assert answer.p999_wait_s == 0


def test_much_room_is_as_good_as_endless() -> None:
    finite, endless = MMcK(5, 3, 2, 2000).answer(), MMc(5, 3, 2).answer()
    for metric in METRICS:
        assert getattr(finite, metric) == pytest.approx(getattr(endless, metric), rel=1e-9), metric


# Each answer is ten inversions of a transform.
@settings(max_examples=max(20, settings.default.max_examples // 5))
@given(load=loads, mean_s=st.floats(1e-3, 1e3), cv=st.floats(0.1, 4))
def test_pollaczek_khinchine(load: float, mean_s: float, cv: float) -> None:
    rate = load / mean_s
    general = MG1(rate, Gamma(mean_s, cv)).answer()
    second_moment = mean_s**2 * (1 + cv**2)
    assert general.mean_wait_s == pytest.approx(rate * second_moment / (2 * (1 - load)), rel=1e-7)
    assert_little(general, rate)
    half = MG1(rate, Constant(mean_s)).answer().mean_wait_s
    assert half == pytest.approx(MM1(rate, 1 / mean_s).answer().mean_wait_s / 2, rel=1e-7)


@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_exponential_service_in_the_general_formula_is_mmc(count: int) -> None:
    general, exact = MGc(0.8 * count, Exponential(1.0), count).answer(), MMc(0.8 * count, 1.0, count).answer()
    for metric in METRICS:
        assert getattr(general, metric) == pytest.approx(getattr(exact, metric), rel=2e-3, abs=1e-12), metric


@given(service_rate=rates, load=st.floats(1, 1e6), count=servers)
def test_overload_is_called_unstable_and_never_negative(service_rate: float, load: float, count: int) -> None:
    # A hair more than the load: dividing it out again must not make the queue stable.
    rate = load * count * service_rate * (1 + 1e-12)
    for answer in (
        MMc(rate, service_rate, count).answer(),
        MGc(rate, Constant(1 / service_rate), count).answer(),
    ):
        assert not answer.stable
        assert answer.utilization >= 1
        assert all(getattr(answer, metric) == math.inf for metric in METRICS)


def test_a_load_of_exactly_one_is_unstable() -> None:
    assert not MM1(3.0, 3.0).answer().stable
    assert not MMc(9.0, 3.0, 3).answer().stable
    assert not MMc(0.3, 0.1, 3).answer().stable or 3 * 0.1 > 0.3  # as the floats given, not as typed


def test_the_atom_at_zero() -> None:
    answer = MMc(2.0, 1.0, 5).answer()  # C = 0.0597: p90 waits nothing, p95 does
    assert answer.p90_wait_s == 0.0
    assert answer.p95_wait_s > 0.0
    assert MM1(0.5, 1.0).answer().p50_wait_s == 0.0


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf, 1e308, "many", None])
def test_absurd_rates_are_refused_in_one_line(rate: float) -> None:
    for build in (
        lambda: MM1(rate, 1.0),
        lambda: MM1(1.0, rate),
        lambda: MMc(rate, 1.0, 2),
        lambda: MMcK(rate, 1, 1, 2),
    ):
        with pytest.raises(BadInput) as caught:
            build()
        assert "\n" not in str(caught.value)
        assert "expected" in str(caught.value)


@pytest.mark.parametrize("count", [0, -1, 1.5, math.nan, 10**9, 1e308])
def test_absurd_numbers_of_servers_are_refused(count: float) -> None:
    with pytest.raises(BadInput, match="servers"):
        MMc(1.0, 1.0, count)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="servers"):
        erlang_b(1.0, count)  # type: ignore[arg-type]


def test_a_capacity_below_the_servers_is_refused() -> None:
    with pytest.raises(BadInput, match="capacity"):
        MMcK(1, 1, 3, 2)
