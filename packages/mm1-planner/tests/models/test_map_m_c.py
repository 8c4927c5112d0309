"""MAP/M/c against 40-digit roots and balance equations, against the formulas it contains, and simulation."""

from __future__ import annotations

import numpy as np
import pytest

from mfi_command import BadInput
from mm1_planner import LEVELS, MAPPH1, METRICS, MAPMc, MMc, Mmpp, erlang_phases, mmpp_map, simulate
from mm1_planner.models.choice import answer_to
from mm1_planner.models.departures import wait_beyond
from mm1_planner.models.map_ph_c import MAPPHc
from mm1_planner.models.phases import poisson_map, two_moment_phases
from mm1_planner.service import Exponential

mpmath = pytest.importorskip("mpmath", reason="the references are computed by mpmath")
mp = mpmath.mp.clone()
mp.dps = 40
TOLERANCE = 1e-9


def mmpp_m_c(arrivals: Mmpp, service_rate: float, servers: int):
    """Terms of the wait's and the sojourn's tail: two roots above level c - 1, balance equations below."""
    rates = [mp.mpf(arrivals.quiet_per_s), mp.mpf(arrivals.peak_per_s)]
    leave = [1 / mp.mpf(arrivals.quiet_s), 1 / mp.mpf(arrivals.peak_s)]
    mu, full = mp.mpf(service_rate), servers * mp.mpf(service_rate)
    sums = [rates[i] + leave[i] + full for i in (0, 1)]
    quartic = [
        full * full,
        -full * (sums[0] + sums[1]),
        full * (rates[0] + rates[1]) + sums[0] * sums[1] - leave[0] * leave[1],
        -(sums[0] * rates[1] + sums[1] * rates[0]),
        rates[0] * rates[1],
    ]
    roots = [
        z.real for z in mp.polyroots(quartic, maxsteps=500, extraprec=400) if abs(z) < 1 - mp.mpf(10) ** -20
    ]
    assert len(roots) == 2
    vectors = [[-leave[1] * z, rates[0] - sums[0] * z + full * z * z] for z in roots]
    size, below = 2 * servers, 2 * (servers - 1)
    system, right = mp.matrix(size, size), mp.matrix(size, 1)

    def add(row: int, level: int, phase: int, factor) -> None:
        """A level's probability in a balance equation, as unknowns."""
        if level < servers - 1:
            system[row, 2 * level + phase] += factor
        else:
            for number, (z, v) in enumerate(zip(roots, vectors, strict=True)):
                system[row, below + number] += factor * v[phase] * z ** (level - servers + 1)

    for level in range(servers):
        for phase in (0, 1):
            row = 2 * level + phase
            add(row, level, phase, -(rates[phase] + leave[phase] + level * mu))
            add(row, level, 1 - phase, leave[1 - phase])
            add(row, level + 1, phase, (level + 1) * mu)
            if level:
                add(row, level - 1, phase, rates[phase])
    for column in range(size):  # one equation follows from the others
        system[size - 1, column] = (
            1 if column < below else sum(vectors[column - below]) / (1 - roots[column - below])
        )
    right[size - 1] = 1
    weights = mp.lu_solve(system, right)[below:]
    rate = (rates[0] * leave[1] + rates[1] * leave[0]) / (leave[0] + leave[1])
    wait = [
        (w * sum(r * x for r, x in zip(rates, v, strict=True)) / rate * z / (1 - z), full * (1 - z))
        for w, v, z in zip(weights, vectors, roots, strict=True)
    ]
    sojourn = [(1 - sum(c for c, _ in wait), mu)]
    for c, r in wait:
        sojourn += [(c * mu / (mu - r), r), (-c * r / (mu - r), mu)]
    return wait, sojourn


def when(terms, exceeding):
    """The t where a sum of c e^(-r t) has fallen to `exceeding`; 0 where it starts below."""

    def tail(t):
        return sum((c * mp.exp(-r * t) for c, r in terms), mp.mpf(0)).real

    low, high = mp.mpf(0), mp.mpf(1)
    if tail(low) <= exceeding:
        return low
    while tail(high) > exceeding:
        high *= 2
    for _ in range(110):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle) > exceeding else (low, middle)
    return high


CASES = [
    (Mmpp(0.2, 3.0, quiet_s=50.0, peak_s=10.0), 0.6, 2),
    (Mmpp(1.0, 10.0, quiet_s=8.0, peak_s=1.0), 1.0, 3),
    (Mmpp(0.001, 30.0, quiet_s=1.0, peak_s=1.0), 1.3, 12),
    (Mmpp(9.0, 99.0, quiet_s=7.0, peak_s=0.7), 0.87, 20),
    (Mmpp(11.8, 12.2, quiet_s=5.0, peak_s=5.0), 1.01, 12),
]


@pytest.mark.parametrize(("arrivals", "rate", "servers"), CASES)
def test_mmpp_m_c(arrivals: Mmpp, rate: float, servers: int) -> None:
    answer = MAPMc(mmpp_map(arrivals), rate, servers).answer()
    wait, sojourn = mmpp_m_c(arrivals, rate, servers)
    pairs = [
        (answer.mean_wait_s, sum(c / r for c, r in wait)),
        (answer.mean_sojourn_s, sum(c / r for c, r in sojourn)),
        (answer.wait_probability, sum(c for c, _ in wait)),
    ]
    for name, level in LEVELS.items():
        for what, terms in (("wait", wait), ("sojourn", sojourn)):
            pairs.append((getattr(answer, f"{name}_{what}_s"), when(terms, 1 - mp.mpf(level))))
    for found, expected in pairs:
        assert abs(found - expected) <= TOLERANCE * expected
    assert answer.utilization == pytest.approx(arrivals.rate_per_s / rate / servers, rel=1e-12)
    fault = MAPMc(mmpp_map(arrivals), rate * (1 + 1e-7), servers).answer()
    assert abs(fault.mean_wait_s - pairs[0][1]) > 20 * TOLERANCE * pairs[0][1]


def test_it_contains_erlang_and_one_server() -> None:
    for found, exact in (
        (MAPMc(poisson_map(950.0), 1.0, 1000), MMc(950.0, 1.0, 1000)),
        (MAPMc(mmpp_map(CASES[0][0]), 1.1, 1), MAPPH1(mmpp_map(CASES[0][0]), erlang_phases(1 / 1.1, 1))),
    ):
        answer, expected = found.answer(), exact.answer()
        for metric in (*METRICS, "wait_probability", "utilization"):
            assert getattr(answer, metric) == pytest.approx(getattr(expected, metric), rel=1e-9), metric


def test_two_service_phases_on_one_server() -> None:
    arrivals, phases = mmpp_map(CASES[0][0]), two_moment_phases(0.9, 4.0)
    found, exact = MAPPHc(arrivals, phases, 1), MAPPH1(arrivals, phases)
    assert found.mean_wait_s == pytest.approx(exact.answer().mean_wait_s, rel=1e-9)
    assert found.wait_probability == pytest.approx(exact.wait_probability, rel=1e-9)
    times = np.array([0.0, 0.3, 4.0, 60.0])
    expected = [exact.wait_tail(float(time_s)) for time_s in times]
    np.testing.assert_allclose(wait_beyond(found, times), expected, atol=1e-7)


def test_several_servers_of_two_phases_meet_the_simulation() -> None:
    start, steps = two_moment_phases(1.0, 4.0)
    queue = MAPPHc(poisson_map(3.2), (start, steps), 4)

    class TwoRates(Exponential):
        def sample(self, rng, count):
            slow = rng.random(count) < start[1]
            return rng.standard_exponential(count) / np.where(slow, -steps[1, 1], -steps[0, 0])

    run = simulate(arrival_rate_per_s=3.2, service=TwoRates(1.0), servers=4, customers=600_000, seed=3)
    low, high = run.estimates["mean_wait_s"].interval(0.999)
    assert low <= queue.mean_wait_s <= high
    low, high = run.estimates["p99_wait_s"].interval(0.999)
    beyond = wait_beyond(queue, np.array([low, high]))
    assert beyond[0] >= 0.01 >= beyond[1]


def test_bursts_on_several_servers_meet_the_simulation() -> None:
    arrivals, rate, servers = CASES[1]
    answer = answer_to(arrivals, Exponential(1 / rate), servers)
    assert answer.model == "MMPP/M/c"
    assert answer.method == "exact"
    run = simulate(
        arrival_rate_per_s=arrivals.rate_per_s,
        service=Exponential(1 / rate),
        servers=servers,
        arrivals=arrivals,
        customers=1_000_000,
        seed=4,
    )
    for metric in METRICS:
        low, high = run.estimates[metric].interval(0.999)
        assert low <= getattr(answer, metric) <= high, metric


def test_overload_is_unstable_and_bad_numbers_are_named() -> None:
    answer = MAPMc(mmpp_map(CASES[1][0]), 0.5, 3).answer()
    assert not answer.stable
    assert answer.utilization == pytest.approx(2 / 1.5)
    assert answer.mean_wait_s == answer.p99_wait_s == np.inf
    with pytest.raises(BadInput):
        MAPMc(poisson_map(1.0), -1.0, 3)
    with pytest.raises(BadInput):
        MAPPHc(poisson_map(1.0), erlang_phases(1.0, 3), 3)
    with pytest.raises(BadInput):
        MAPPHc(poisson_map(1.0), two_moment_phases(1.0, 2.0), 5000)
