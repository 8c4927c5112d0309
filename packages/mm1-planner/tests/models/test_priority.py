"""Non-preemptive priorities against the textbook's transforms in 40 digits."""

from __future__ import annotations

import math

import pytest

from mfi_command import BadInput
from mm1_planner import (
    LEVELS,
    METRICS,
    MG1,
    Constant,
    Exponential,
    Gamma,
    Lognormal,
    MMc,
    Priority,
    PriorityClass,
)
from mm1_planner.models.erlang import erlang_c

mpmath = pytest.importorskip("mpmath", reason="the references are computed by mpmath")
mp = mpmath.mp.clone()
mp.dps = 40
TOLERANCE = 1e-9


def law_transform(law):
    if isinstance(law, Constant):
        return lambda s: mp.exp(-s * law.mean_s)
    shape = 1 / mp.mpf(law.scv)
    return lambda s: (1 + s * mp.mpf(law.mean_s) / shape) ** -shape


def textbook_tail(classes, number, time_s):
    """Conway, Maxwell and Miller: the busy period of the urgent classes by iteration, then the transform."""
    rates = [mp.mpf(each.arrival_rate_per_s) for each in classes]
    laws = [law_transform(each.service) for each in classes]
    load = sum(r * mp.mpf(each.service.mean_s) for r, each in zip(rates, classes, strict=True))

    def transform(s):
        busy = mp.mpf(1) / 2
        urgent = sum(rates[:number])
        for _ in range(5000):
            z = s + urgent - urgent * busy
            new = (
                sum(r * law(z) for r, law in zip(rates[:number], laws, strict=False)) / urgent
                if number
                else busy
            )
            if abs(new - busy) < mp.mpf(10) ** -30:
                break
            busy = new
        z = s + urgent - urgent * busy
        later = sum(r * (1 - law(z)) for r, law in zip(rates[number + 1 :], laws[number + 1 :], strict=True))
        wait = ((1 - load) * z + later) / (s - rates[number] + rates[number] * laws[number](z))
        return (1 - wait) / s

    return mp.invertlaplace(transform, mp.mpf(time_s), method="talbot", degree=24)


CASES = [
    [PriorityClass(0.3, Exponential(1.0)), PriorityClass(0.5, Exponential(1.0))],
    [
        PriorityClass(0.2, Gamma(0.5, 1.7)),
        PriorityClass(0.3, Exponential(2.0)),
        PriorityClass(0.5, Gamma(0.4, 0.6)),
    ],
]


@pytest.mark.parametrize("classes", CASES)
def test_percentiles_of_one_server(classes) -> None:
    queue = Priority(classes)
    for number in range(len(classes)):
        time_s = queue.wait_percentile(number, LEVELS["p99"])
        tail = textbook_tail(classes, number, time_s)
        assert abs(tail / (1 - mp.mpf(LEVELS["p99"])) - 1) < TOLERANCE, number


def test_several_servers_are_one_fast_one_while_all_are_busy() -> None:
    classes = [PriorityClass(2.0, Exponential(1.0)), PriorityClass(4.5, Exponential(1.0))]
    queue = Priority(classes, 8)
    fast = [PriorityClass(each.arrival_rate_per_s, Exponential(1 / 8)) for each in classes]
    for number in (0, 1):
        for time_s in (0.05, 0.4, 1.5):
            expected = textbook_tail(fast, number, time_s) * erlang_c(6.5, 8) / (mp.mpf(6.5) / 8)
            assert abs(mp.mpf(queue.wait_tail(number, time_s)) / expected - 1) < TOLERANCE


@pytest.mark.parametrize("classes", CASES)
def test_means_are_cobhams_and_keep_the_work(classes) -> None:
    queue = Priority(classes)
    second = sum(c.arrival_rate_per_s * c.service.mean_s**2 * (1 + c.service.scv) for c in classes)
    before = 0.0
    for number, each in enumerate(classes):
        expected = second / 2 / ((1 - before) * (1 - before - each.load))
        assert queue.mean_wait_s(number) == pytest.approx(expected, rel=1e-12)
        before += each.load
    kept = sum(c.load * queue.mean_wait_s(k) for k, c in enumerate(classes))
    assert kept == pytest.approx(before * second / 2 / (1 - before), rel=1e-12)


def test_one_class_is_the_plain_queue() -> None:
    alone, plain = (
        Priority([PriorityClass(0.6, Gamma(1.0, 2.0))]).answer(0),
        MG1(0.6, Gamma(1.0, 2.0)).answer(),
    )
    for metric in METRICS:
        assert getattr(alone, metric) == pytest.approx(getattr(plain, metric), rel=1e-8), metric
    heavy = Lognormal(1.0, 1.5)
    one = Priority([PriorityClass(0.6, heavy)])
    assert one.wait_tail(0, 9.0) == pytest.approx(MG1(0.6, heavy).wait_tail(9.0), rel=1e-9)
    alone, plain = Priority([PriorityClass(5.0, Exponential(1.0))], 6).answer(0), MMc(5.0, 1.0, 6).answer()
    for metric in METRICS:
        assert getattr(alone, metric) == pytest.approx(getattr(plain, metric), rel=TOLERANCE), metric


def test_constant_service_is_added_to_the_wait() -> None:
    queue = Priority([PriorityClass(0.3, Constant(1.0)), PriorityClass(0.4, Exponential(1.0))])
    answer = queue.answer(0)
    assert answer.p99_sojourn_s == 1.0 + answer.p99_wait_s
    assert queue.sojourn_tail(0, 0.999) == 1.0


def test_an_overloaded_class_waits_for_ever_and_those_before_it_do_not() -> None:
    classes = [
        PriorityClass(0.4, Exponential(1.0)),
        PriorityClass(2.0, Gamma(1.0, 2.0)),
        PriorityClass(0.1, Exponential(9.0)),
    ]
    first, second, third = (Priority(classes).answer(k) for k in range(3))
    # The second class keeps the server busy whenever the first leaves it: 0.6 of the time.
    left = 0.4 * 1.0 + 0.6 * (1 + 4) / 2
    assert first.mean_wait_s == pytest.approx(left / 0.6, rel=1e-12)
    assert first.stable
    assert first.wait_probability == 1.0
    assert not second.stable
    assert not third.stable
    assert second.utilization == pytest.approx(2.4)
    assert third.p99_wait_s == math.inf


def test_bad_input() -> None:
    one = PriorityClass(0.5, Exponential(1.0))
    for classes, servers in (([], 1), ([one], 0), ([one, PriorityClass(1.0, Gamma(1.0, 2.0))], 2)):
        with pytest.raises(BadInput):
            Priority(classes, servers)
    with pytest.raises(BadInput):
        Priority([PriorityClass(-1.0, Exponential(1.0))])
