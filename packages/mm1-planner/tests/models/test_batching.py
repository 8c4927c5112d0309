"""Batches against their definition in 40 digits: the chain, then one customer and its own batch."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from mfi_command import BadInput
from mm1_planner import Batching, MDc, draw, parse_service
from mm1_planner.engine.batching import simulate_batching

mpmath = pytest.importorskip("mpmath", reason="the references are computed by mpmath")
mp = mpmath.mp.clone()
mp.dps = 40
TOLERANCE = 1e-9


def poisson(mean, number):
    return mp.exp(-mean) * mean**number / mp.factorial(number) if number >= 0 else mp.mpf(0)


class Definition:
    """All sums written out; the arrival time within a batch is integrated between the jumps."""

    def __init__(self, rate, fixed, each, largest, count: int) -> None:
        self.rate, self.fixed, self.each = mp.mpf(rate), mp.mpf(fixed), mp.mpf(each)
        self.limit, self.count = largest or 10**6, count
        moves = mp.matrix(count, count)
        for left in range(count):
            size = min(max(left, 1), self.limit)
            for after in range(max(left - size, 0), count):
                moves[left, after] = poisson(self.rate * self.time(size), after - max(left - size, 0))
        balance = (moves - mp.eye(count)).T
        balance[count - 1, :] = mp.ones(1, count)
        side = mp.zeros(count, 1)
        side[count - 1] = 1
        self.left = mp.lu_solve(balance, side)
        arrive = sum(self.left[n] * self.rate * self.time(min(max(n, 1), self.limit)) for n in range(count))
        self.customers = arrive + self.left[0]

    def time(self, size):
        return self.fixed + self.each * size

    def tail(self, time_s, *, sojourn: bool):
        total = self.left[0] * (sojourn and time_s < self.time(1))
        full = self.time(self.limit)
        for left in range(self.count):
            if self.left[left] < mp.mpf(10) ** -14:
                continue
            now = self.time(min(max(left, 1), self.limit))
            behind = left - min(left, self.limit) if left else 0
            jumps = {mp.mpf(0), now}
            for place in range(6):
                base = now + place * full - time_s
                extra = [self.time(m) for m in range(1, min(self.limit, 40) + 1)] if sojourn else [0]
                jumps |= {base + e for e in extra if 0 < base + e < now}
            edges = sorted(jumps)
            for low, high in pairwise(edges):
                total += self.left[left] * self.rate * self.piece(low, high, now, behind, time_s, sojourn)
        return total / self.customers

    def piece(self, low, high, now, behind, time_s, sojourn):
        nodes, weights = np.polynomial.legendre.leggauss(8)
        total = mp.mpf(0)
        for node, weight in zip(nodes, weights, strict=True):
            u = (low + high) / 2 + (high - low) / 2 * mp.mpf(float(node))
            total += mp.mpf(float(weight)) * self.chance(u, now, behind, time_s, sojourn)
        return total * (high - low) / 2

    def chance(self, u, now, behind, time_s, sojourn):
        total, seen = mp.mpf(0), mp.exp(-self.rate * u)
        for earlier in range(20):
            place, ahead = divmod(behind + earlier, self.limit)
            wait = now - u + place * self.time(self.limit)
            total += seen * (1 if wait > time_s else self.grows(wait, ahead, time_s) if sojourn else 0)
            seen *= self.rate * u / (earlier + 1)
        return total

    def grows(self, wait, ahead, time_s):
        """Chance that enough come during the wait for a batch that takes long enough."""
        least = ahead + 1
        while least <= min(self.limit, 40) and wait + self.time(least) <= time_s:
            least += 1
        if least > min(self.limit, 40):
            return mp.mpf(0)
        left, term = mp.mpf(1), mp.exp(-self.rate * wait)
        for n in range(least - ahead - 1):
            left -= term
            term *= self.rate * wait / (n + 1)
        return left


@pytest.mark.parametrize(
    ("queue", "count"),
    [
        (Batching(0.7, 0.6, 0.3, largest=3), 34),
        (Batching(0.5, 1.0, 0.4), 30),
    ],
)
def test_tails(queue: Batching, count: int) -> None:
    truth = Definition(queue.arrival_rate_per_s, queue.fixed_s, queue.each_s, queue.largest, count)
    for time_s in (1.23, 2.6):
        for sojourn, found in ((False, queue.wait_tail(time_s)), (True, queue.sojourn_tail(time_s))):
            assert abs(mp.mpf(found) / truth.tail(mp.mpf(time_s), sojourn=sojourn) - 1) < TOLERANCE, (
                time_s,
                sojourn,
            )
    assert abs(queue.wait_probability / (1 - truth.left[0] / truth.customers) - 1) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("queue", [Batching(1.0, 2.0, 0.3, largest=8), Batching(1.0, 1.0, 0.5)])
def test_percentiles_and_means_fit_each_other(queue: Batching) -> None:
    answer = queue.answer()
    for what, mean in (("wait", answer.mean_wait_s), ("sojourn", answer.mean_sojourn_s)):
        tail = getattr(queue, f"{what}_tail")
        assert tail(getattr(answer, f"p99_{what}_s")) == pytest.approx(0.01, rel=1e-8)
        # The mean is the integral of the tail; both come by different ways.
        times = np.linspace(0, 2 * getattr(answer, f"p999_{what}_s"), 90)
        assert np.trapezoid([tail(t) for t in times], times) == pytest.approx(mean, rel=1e-2)


@pytest.mark.parametrize("args", [(1.0, 2.0, 0.4, 8), (5.0, 1.0, 0.15, 100), (2.0, 1.0, 0.3, None)])
def test_simulated_batches(args) -> None:
    answer = Batching(*args).answer()
    gaps = draw(args[0], parse_service("exp:1"), 600_000, seed=2)[0]
    waits, sojourns = simulate_batching(gaps, *args[1:])
    assert waits.mean() == pytest.approx(answer.mean_wait_s, rel=0.02)
    assert sojourns.mean() == pytest.approx(answer.mean_sojourn_s, rel=0.02)
    assert np.quantile(sojourns, 0.99) == pytest.approx(answer.p99_sojourn_s, rel=0.05)


def test_batches_of_one_are_constant_services() -> None:
    batches, plain = Batching(0.7, 0.9, 0.1, largest=1).answer(), MDc(0.7, 1.0, 1).answer()
    for metric in ("mean_wait_s", "mean_sojourn_s", "p90_wait_s", "p999_wait_s", "wait_probability"):
        assert getattr(batches, metric) == pytest.approx(getattr(plain, metric), rel=TOLERANCE), metric


def test_overload_and_bad_input() -> None:
    assert Batching(1.0, 1.0, 0.5, largest=2).answer().stable is False
    assert Batching(3.0, 1.0, 0.5).answer().utilization == pytest.approx(1.5)
    for wrong in (
        (0.0, 1.0, 1.0),
        (1.0, -1.0, 1.0),
        (1.0, 0.0, 0.0),
        (1.0, 1.0, 1.0, 0),
        (1.0, float("nan"), 1.0),
    ):
        with pytest.raises(BadInput):
            Batching(*wrong)
    with pytest.raises(BadInput, match="queue lengths"):
        Batching(0.99999, 1.0, 0.0, largest=1).answer()
