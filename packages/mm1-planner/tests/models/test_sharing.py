"""Processor sharing and state-dependent service against 40-digit transforms, M/M/c, and a larger chain."""

from __future__ import annotations

import numpy as np
import pytest

from mfi_command import BadInput
from mm1_planner import LEVELS, METRICS, MM1, MMc, Sharing

mpmath = pytest.importorskip("mpmath", reason="the references are computed by mpmath")
mp = mpmath.mp.clone()
mp.dps = 40
TOLERANCE = 1e-9


def coffman_muntz_trotter(load):
    """Transform of the sojourn of M/M/1-PS, averaged over the exponential work term by term."""

    def transform(s):
        half = 1 + load + s
        r = (half - mp.sqrt(half * half - 4 * load)) / (2 * load)
        factor, ratio = (1 - load) * (1 - load * r * r), load * (1 - r) ** 2 / (1 - load * r) ** 2
        total, term, j = mp.mpf(0), 1 / (1 - load * r) ** 2, 0
        while abs(term) > mp.mpf(10) ** -30:
            total += term / (1 + load * (1 - r) + s + j * (1 - load * r * r) / r)
            term, j = term * ratio, j + 1
        return factor * total

    return transform


@pytest.mark.parametrize(("load", "levels"), [(0.2, ("p50", "p999")), (0.9, ("p999",))])
def test_processor_sharing_percentiles(load: float, levels: tuple[str, ...]) -> None:
    queue = Sharing(load, 1.0, [1.0])
    transform = coffman_muntz_trotter(mp.mpf(load))
    for level in map(LEVELS.__getitem__, levels):
        time_s = queue.sojourn_percentile(level)
        tail = mp.invertlaplace(lambda s: (1 - transform(s)) / s, mp.mpf(time_s), method="dehoog", degree=30)
        # Over one mean sojourn the tail falls by less than its size: its relative error bounds that of t.
        assert abs(tail / (1 - mp.mpf(level)) - 1) < TOLERANCE
    answer = queue.answer()
    assert answer.mean_sojourn_s == pytest.approx(1 / (1 - load), rel=1e-11)
    assert answer.mean_wait_s == answer.p999_wait_s == answer.wait_probability == 0


@pytest.mark.parametrize(("rate", "servers"), [(0.7, 1), (3.5, 5), (58.0, 64)])
def test_equal_speeds_with_a_limit_are_mmc(rate: float, servers: int) -> None:
    shared = Sharing(rate, 1.0, [1.0] * servers, limited=True).answer()
    plain = MMc(rate, 1.0, servers).answer() if servers > 1 else MM1(rate, 1.0).answer()
    for metric in (*METRICS, "wait_probability"):
        assert getattr(shared, metric) == pytest.approx(getattr(plain, metric), rel=TOLERANCE), metric


@pytest.mark.parametrize("limited", [True, False])
def test_any_speeds_against_a_chain_of_who_is_ahead_and_behind(limited: bool) -> None:
    from scipy.linalg import expm

    rate, speeds, room = 0.55, [1.0, 0.45, 0.4], 26
    queue = Sharing(rate, 1.0, speeds, limited=limited)

    def pace(n: int) -> float:
        return speeds[n - 1] if n <= 3 else (speeds[2] if limited else 3 * speeds[2] / n)

    # State: a customers ahead, b behind; the customer is served when fewer than three are ahead, or always.
    place = {(a, b): i for i, (a, b) in enumerate((a, b) for a in range(room) for b in range(room - a))}
    moves = np.zeros((len(place) + 1,) * 2)
    for (a, b), i in place.items():
        n = a + b + 1
        served = min(n, 3) if limited else n
        ahead = min(a, served - (not limited or a < 3))
        own = not limited or a < 3
        rates = [(rate, (a, b + 1)), (ahead * pace(n), (a - 1, b))]
        rates += [((served - ahead - own) * pace(n), (a, b - 1)), (own * pace(n), None)]
        for per_s, target in rates:
            if per_s > 0 and (target is None or target in place):
                moves[i, place[target] if target else len(place)] += per_s
    moves -= np.diag(moves.sum(axis=1))
    start = np.zeros(len(place) + 1)
    weights = np.cumprod([1.0] + [rate / (min(n, 3) * speeds[min(n, 3) - 1]) for n in range(1, room)])
    for a, weight in enumerate(weights / weights.sum()):
        start[place[a, 0]] = weight
    for time_s in (0.5, 3.0, 9.0):
        expected = 1 - (start @ expm(moves * time_s))[-1]
        # The chain is cut where 2e-9 of the customers are.
        assert queue.sojourn_tail(time_s) == pytest.approx(expected, abs=1e-7)


def test_the_mean_is_littles_law_over_the_states() -> None:
    speeds = [1 / (0.02 + 0.001 * n) for n in range(1, 65)]
    answer = Sharing(60.0, 10.0, speeds, limited=True).answer()
    weights = [mp.mpf(1)]
    for n in range(1, 400):
        served = min(n, 64)
        weights.append(weights[-1] * 60 * 10 / (served * mp.mpf(speeds[served - 1])))
    total = sum(weights)
    assert answer.mean_in_system == pytest.approx(
        float(sum(n * w for n, w in enumerate(weights)) / total), rel=TOLERANCE
    )
    assert answer.wait_probability == pytest.approx(float(sum(weights[64:]) / total), rel=TOLERANCE)


def test_overload_and_bad_input() -> None:
    answer = Sharing(3.0, 1.0, [1.0, 0.8]).answer()
    assert not answer.stable
    assert answer.utilization == pytest.approx(3.0 / 1.6)
    for wrong in ({"speeds": []}, {"speeds": [0.0]}, {"work": -1.0}, {"arrival_rate_per_s": float("nan")}):
        with pytest.raises(BadInput):
            Sharing(**({"arrival_rate_per_s": 1.0, "work": 1.0, "speeds": [2.0]} | wrong))
    with pytest.raises(BadInput, match="states"):
        Sharing(0.99999, 1.0, [1.0]).answer()
