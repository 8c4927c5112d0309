"""MAP/PH/1 against 40-digit spectral and transform solutions, and against simulation."""

from __future__ import annotations

import numpy as np
import pytest

from mfi_command import BadInput
from mm1_planner import LEVELS, MAPPH1, METRICS, MM1, Gamma, Mmpp, simulate
from mm1_planner.models.phases import (
    erlang_phases,
    mmpp_map,
    poisson_map,
    renewal_map,
    two_moment_phases,
)
from mm1_planner.models.qbd import first_passage

mpmath = pytest.importorskip("mpmath", reason="the references are computed by mpmath")
mp = mpmath.mp.clone()
mp.dps = 40
TOLERANCE = 1e-9


def when(terms, exceeding):
    """The t where a sum of c e^(-r t) has fallen to `exceeding`; 0 where it starts below."""

    def tail(t):
        return sum((c * mp.exp(-r * t) for c, r in terms), mp.mpf(0)).real

    low, high = mp.mpf(0), mp.mpf(1)
    if tail(low) <= exceeding:
        return low
    while tail(high) > exceeding:
        high *= 2
    for _ in range(140):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle) > exceeding else (low, middle)
    return high


def mmpp_m_1(arrivals: Mmpp, service_rate: float):
    """Wait and sojourn as sums of exponentials: the roots z of the levels' quadratic eigenvalue problem."""
    rates = [mp.mpf(arrivals.quiet_per_s), mp.mpf(arrivals.peak_per_s)]
    leave = [1 / mp.mpf(arrivals.quiet_s), 1 / mp.mpf(arrivals.peak_s)]
    mu = mp.mpf(service_rate)

    def entries(z):
        return [rates[i] - (rates[i] + leave[i] + mu) * z + mu * z * z for i in (0, 1)]

    # det = e1 e2 - r1 r2 z^2, a polynomial of degree 4 with two roots inside the unit circle.
    first, second = ([mu, -(rates[i] + leave[i] + mu), rates[i]] for i in (0, 1))
    product = [mp.mpf(0)] * 5
    for i, left in enumerate(first):
        for j, right in enumerate(second):
            product[i + j] += left * right
    product[2] -= leave[0] * leave[1]
    roots = [
        z.real for z in mp.polyroots(product, maxsteps=500, extraprec=400) if abs(z) < 1 - mp.mpf(10) ** -20
    ]
    assert len(roots) == 2
    # pi_n = sum of c v z^n for n >= 0 holds down to level 0 if its balance does.
    vectors = [[-leave[1] * z, entries(z)[0]] for z in roots]
    balance = mp.matrix(2, 2)
    for column, (z, v) in enumerate(zip(roots, vectors, strict=True)):
        balance[0, column] = -(rates[0] + leave[0]) * v[0] + leave[1] * v[1] + mu * v[0] * z
        balance[1, column] = sum(v) / (1 - z)
    weights = mp.lu_solve(balance, mp.matrix([0, 1]))
    total = sum(
        w * sum(r * x for r, x in zip(rates, v, strict=True)) / (1 - z)
        for w, v, z in zip(weights, vectors, roots, strict=True)
    )
    seen = [
        w * sum(r * x for r, x in zip(rates, v, strict=True)) / total
        for w, v in zip(weights, vectors, strict=True)
    ]
    wait = [(c * z / (1 - z), mu * (1 - z)) for c, z in zip(seen, roots, strict=True)]
    sojourn = [(c / (1 - z), mu * (1 - z)) for c, z in zip(seen, roots, strict=True)]
    return wait, sojourn


def assert_matches(answer, wait, sojourn) -> None:
    assert abs(answer.mean_wait_s / sum(c / r for c, r in wait).real - 1) < TOLERANCE
    assert abs(answer.mean_sojourn_s / sum(c / r for c, r in sojourn).real - 1) < TOLERANCE
    assert abs(answer.wait_probability / sum(c for c, _ in wait).real - 1) < TOLERANCE
    for name, level in LEVELS.items():
        for what, terms in (("wait", wait), ("sojourn", sojourn)):
            expected = when(terms, 1 - mp.mpf(level))
            found = getattr(answer, f"{name}_{what}_s")
            assert abs(found - expected) <= TOLERANCE * expected, (name, what)


@pytest.mark.parametrize(
    ("arrivals", "service_rate"),
    [
        (Mmpp(0.2, 3.0, quiet_s=50.0, peak_s=10.0), 1.1),
        (Mmpp(0.01, 1.0, quiet_s=1.0, peak_s=3.0), 1.0),
        (Mmpp(9.0, 99.0, quiet_s=7.0, peak_s=0.1), 10.5),
        (Mmpp(0.9, 1.0, quiet_s=5.0, peak_s=5.0), 0.96),
    ],
)
def test_mmpp_m_1(arrivals: Mmpp, service_rate: float) -> None:
    answer = MAPPH1(mmpp_map(arrivals), erlang_phases(1 / service_rate, 1)).answer()
    assert_matches(answer, *mmpp_m_1(arrivals, service_rate))
    assert answer.utilization == pytest.approx(arrivals.rate_per_s / service_rate, rel=1e-12)


@pytest.mark.parametrize("load", [0.13, 0.7, 0.95])
def test_poisson_arrivals_to_two_exponentials(load: float) -> None:
    start, steps = two_moment_phases(1.0, 4.0)
    p, r = [mp.mpf(x) for x in start], [mp.mpf(-x) for x in np.diag(steps)]
    mean = sum(a / b for a, b in zip(p, r, strict=True))
    rate = mp.mpf(load)
    # Pollaczek and Khinchine: the poles are the roots of s - rate (1 - B(s)), over s.
    quadratic = [
        mp.mpf(1),
        r[0] + r[1] - rate,
        r[0] * r[1] - rate * (r[0] + r[1] - p[0] * r[0] - p[1] * r[1]),
    ]
    quadratic[2] = r[0] * r[1] * (1 - rate * mean)
    poles = [-z.real for z in mp.polyroots(quadratic, extraprec=200)]
    idle = 1 - rate * mean
    wait = []
    for pole, other in (poles, poles[::-1]):
        # Residue of (1 - rho) (s + r1)(s + r2) / (s^2 + ...) gives density, over the pole the tail.
        wait.append((idle * (r[0] - pole) * (r[1] - pole) / (other - pole) / pole, pole))
    sojourn = []
    for c, d in wait:
        for a, b in zip(p, r, strict=True):
            sojourn += [(c * a * b / (b - d), d), (-c * a * d / (b - d), b)]
    sojourn += [(a * idle, b) for a, b in zip(p, r, strict=True)]
    assert_matches(MAPPH1(poisson_map(load), (start, steps)).answer(), wait, sojourn)


@pytest.mark.parametrize(("phases", "load"), [(2, 0.3), (4, 0.9), (3, 0.99)])
def test_erlang_arrivals_to_an_exponential(phases: int, load: float) -> None:
    gap = mp.mpf(phases) * mp.mpf(load)
    sigma = mp.mpf(0)
    while (new := (gap / (gap + 1 - sigma)) ** phases) - sigma > mp.mpf(10) ** -30:
        sigma = new
    sigma = new
    arrivals = renewal_map(*erlang_phases(1 / load, phases))
    answer = MAPPH1(arrivals, erlang_phases(1.0, 1)).answer()
    assert_matches(answer, [(sigma, 1 - sigma)], [(mp.mpf(1), 1 - sigma)])


def test_a_planted_fault_in_g_is_seen() -> None:
    up, local, down = np.array([[0.9]]), np.array([[-1.9]]), np.array([[1.0]])
    assert first_passage(up, local, down)[0, 0] == pytest.approx(1.0, abs=1e-15)
    right, wrong = (
        MM1(0.9, 1.0).answer(),
        MAPPH1(poisson_map(0.9 * (1 + 1e-8)), erlang_phases(1.0, 1)).answer(),
    )
    assert abs(wrong.p99_wait_s / right.p99_wait_s - 1) > 50 * TOLERANCE


def test_bursts_and_regular_services_meet_the_simulation() -> None:
    arrivals = Mmpp(0.3, 2.5, quiet_s=8.0, peak_s=2.0)
    answer = MAPPH1(mmpp_map(arrivals), erlang_phases(1.0, 3)).answer()
    run = simulate(
        arrival_rate_per_s=arrivals.rate_per_s,
        service=Gamma(1.0, 3**-0.5),
        arrivals=arrivals,
        customers=1_500_000,
        seed=4,
    )
    for metric in METRICS:
        low, high = run.estimates[metric].interval(0.999)
        assert low <= getattr(answer, metric) <= high, metric


@pytest.mark.parametrize("scv", [1 / 32, 0.07, 0.3, 0.5, 0.99, 1.0, 1.01, 4.0, 50.0])
def test_two_moments(scv: float) -> None:
    start, steps = two_moment_phases(2.0, scv)
    inverse = np.linalg.inv(-steps)
    mean = start @ inverse.sum(axis=1)
    assert mean == pytest.approx(2.0, rel=1e-12)
    assert 2 * start @ (inverse @ inverse).sum(axis=1) / mean**2 - 1 == pytest.approx(scv, rel=1e-9)


def test_overload_is_unstable_and_bad_matrices_are_named() -> None:
    answer = MAPPH1(mmpp_map(Mmpp(1.0, 5.0, 10.0, 10.0)), erlang_phases(1.0, 1)).answer()
    assert not answer.stable
    assert answer.utilization == pytest.approx(3.0)
    assert answer.mean_wait_s == answer.p99_wait_s == np.inf
    one = erlang_phases(1.0, 1)
    for arrivals, services in (
        ((np.array([[-1.0]]), np.array([[0.5]])), one),
        ((np.array([[-1.0]]), np.array([[np.nan]])), one),
        (poisson_map(1.0), (np.array([0.5]), one[1])),
        (poisson_map(1.0), (one[0], np.array([[1.0]]))),
        (poisson_map(1.0), erlang_phases(1.0, 60)),
    ):
        with pytest.raises(BadInput):
            MAPPH1(arrivals, services)
    with pytest.raises(BadInput):
        two_moment_phases(1.0, 0.01)
