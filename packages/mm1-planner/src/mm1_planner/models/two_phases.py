"""Phase-type laws in the place of others, for many servers: services of two phases, gaps of a few."""

from __future__ import annotations

import math

import numpy as np

from mm1_planner.models.gimc import GIMc
from mm1_planner.models.phases import Matrices, erlang_phases, poisson_map, renewal_map, two_moment_phases
from mm1_planner.service import Empirical, Exponential, Gamma, Lognormal, Service

LEAST_SCV = 0.5
"""Of two phases in a row."""

_NEARLY_ONE = 0.02
_OWN_THIRD = 0.6
"""Of the third moment's way from the least that two exponentials allow to the law's own, by its logarithm: a
long tail of rare services keeps one server of many busy, and its moment tells too much of it."""

_ROUNDS = 60


def is_exponential(law: Service) -> bool:
    """Whether the law is exponential, under whatever name."""
    return isinstance(law, Exponential) or (isinstance(law, Gamma) and math.isclose(law.cv, 1.0))


def third_moment(law: Service) -> float:
    """E S³ over the mean's cube.

    Raises
    ------
    NotImplementedError
        For a law of another class.
    """
    scv = law.scv
    if isinstance(law, Exponential | Gamma):
        return (1 + scv) * (1 + 2 * scv)
    if isinstance(law, Lognormal):
        return (1 + scv) ** 3
    if isinstance(law, Empirical):
        return float(np.mean((law.times_s / law.mean_s) ** 3))
    raise NotImplementedError(f"no third moment for {type(law).__name__}")


def two_phase_service(law: Service) -> Matrices:
    """Start (2,) and subgenerator (2, 2) of two phases, or one, with the law's mean and scv.

    Above 1 two exponentials, their third moment between the smallest possible and the law's; from 0.5 to 1
    two phases in a row with that of a gamma law; below 0.5 as at 0.5. Tijms, A First Course in
    Stochastic Models, appendix B.
    """
    mean, scv = law.mean_s, max(law.scv, LEAST_SCV)
    if is_exponential(law) or abs(scv - 1) < _NEARLY_ONE:
        return erlang_phases(mean, 1)
    if scv > 1:
        least = 1.5 * (1 + scv) ** 2
        third = least * max(third_moment(law) / least, 1.001) ** _OWN_THIRD
        return _two_scales(mean, *_two_points((1 + scv) / 2, third / 6), 1)
    return _in_a_row(mean, scv)


def _in_a_row(mean_s: float, scv: float) -> Matrices:
    """Two exponential phases, the second not always, with the three moments of a gamma law."""
    second, third = (1 + scv) / 2, (1 + scv) * (1 + 2 * scv) / 6
    total = (third - second) / (second - 1) if scv < 1 else math.inf
    product = total - second
    root = math.sqrt(max(total * total - 4 * product, 0.0))
    first, last = (total + root) / 2, (total - root) / 2
    share = 1 - (total - 1) / last
    return np.array([1.0, 0.0]), np.array([[-1 / first, share / first], [0.0, -1 / last]]) / mean_s


def _two_points(second: float, third: float) -> tuple[float, float, float]:
    """Share of the first of two points, and both, of a law with mean 1 and these moments."""
    spread = second - 1
    total, product = (third - second) / spread, (third - second * second) / spread
    root = math.sqrt(total * total - 4 * product)
    low, high = (total - root) / 2, (total + root) / 2
    return (high - 1) / (high - low), low, high


def _two_scales(mean_s: float, share: float, low: float, high: float, phases: int) -> Matrices:
    """A mixture of two Erlang laws of so many phases each."""
    start, steps = erlang_phases(mean_s, phases)
    none = np.zeros((phases, phases))
    return np.concatenate([share * start, (1 - share) * start]), np.block(
        [[steps / low, none], [none, steps / high]]
    )


def gap_phases(gap: Service, service_s: float, servers: int, most: int) -> Matrices:
    r"""D0 and D1 of phase-type gaps in the place of a law, with at most so many phases.

    A mixture of two Erlang laws of the same mean and scv, and of the same root $\sigma=A(c\mu(1-\sigma))$:
    behind exponential services gaps matter through that alone. Where the phases do not suffice, fewer moments
    agree.
    """
    mean, scv = gap.mean_s, gap.scv
    if is_exponential(gap):
        return poisson_map(1 / mean)
    exact = round(1 / scv) if isinstance(gap, Gamma) and scv < 1 else 0
    if exact and math.isclose(exact * scv, 1.0) and exact <= most:
        return renewal_map(*erlang_phases(mean, exact))
    if scv * most <= 1:
        return renewal_map(*erlang_phases(mean, most))
    phases = 1 if scv > 1 + _NEARLY_ONE else math.floor(1 / scv + 1e-9) + 1
    if 2 * phases > most:
        return renewal_map(*two_moment_phases(mean, scv))
    queue = GIMc(gap, 1 / service_s, servers)
    speed = servers / service_s * (1 - queue.sigma) * mean / phases
    second = (1 + scv) / (1 + 1 / phases)

    def mixed(more: float) -> tuple[float, float, float]:
        return _two_points(second, second * second * (1 + math.exp(more)))

    def above(more: float) -> bool:
        share, low, high = mixed(more)
        found = share * (1 + speed * low) ** -phases + (1 - share) * (1 + speed * high) ** -phases
        return found > queue.sigma

    few, many = math.log(1e-3), math.log(1e2)
    if not above(few):  # the transform falls as the third moment grows: nearest is the smallest
        many = few
    for _ in range(_ROUNDS):
        middle = (few + many) / 2
        few, many = (middle, many) if above(middle) else (few, middle)
    return renewal_map(*_two_scales(mean, *mixed(many), phases))
