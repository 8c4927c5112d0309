"""Phase-type laws and Markovian arrival processes: the matrices that the matrix-analytic formulas take."""

from __future__ import annotations

import math

import numpy as np

from mfi_command import BadInput
from mm1_planner.arrivals import Mmpp
from mm1_planner.inputs import positive

_MOST_PHASES = 32

Matrices = tuple[np.ndarray, np.ndarray]


def erlang_phases(mean_s: float, phases: int) -> Matrices:
    """Start (k,) and subgenerator (k, k) of a sum of equal exponentials; phases = 1 is the exponential."""
    rate = phases / positive("mean", mean_s)
    start = np.zeros(phases)
    start[0] = 1.0
    return start, rate * (np.diag(np.ones(phases - 1), 1) - np.eye(phases))


def two_moment_phases(mean_s: float, scv: float) -> Matrices:
    """A phase-type law of a mean and a squared coefficient of variation from 1/32 up.

    Above 1 two exponentials with balanced means; below 1 a mixture of Erlang(k-1) and Erlang(k) of one rate.
    Two moments do not make a law: others with the same two wait differently. Tijms, A First Course in
    Stochastic Models, appendix B.

    Raises
    ------
    BadInput
        If a number is out of range.
    """
    mean_s, scv = positive("mean", mean_s), positive("scv", scv, largest=1e4)
    if scv * _MOST_PHASES < 1:
        raise BadInput(f"scv is {scv:g}; expected at least 1/{_MOST_PHASES}: phases below that are too many")
    if scv == 1:
        return erlang_phases(mean_s, 1)
    if scv > 1:
        share = (1 + math.sqrt((scv - 1) / (scv + 1))) / 2
        start = np.array([share, 1 - share])
        return start, np.diag(-2 * start / mean_s)
    phases = math.ceil(1 / scv)
    less = (phases * scv - math.sqrt(phases * (1 + scv) - phases**2 * scv)) / (1 + scv)
    start, steps = erlang_phases(1.0, phases)
    start[0], start[1] = 1 - less, less
    return start, steps / phases * (phases - less) / mean_s


def poisson_map(rate_per_s: float) -> Matrices:
    """D0 and D1 (1, 1) of Poisson arrivals."""
    rate = positive("arrival rate", rate_per_s)
    return np.array([[-rate]]), np.array([[rate]])


def renewal_map(start: np.ndarray, subgenerator: np.ndarray) -> Matrices:
    """D0 and D1 of renewal arrivals with phase-type gaps."""
    return subgenerator, np.outer(-subgenerator.sum(axis=1), start)


def mmpp_map(arrivals: Mmpp) -> Matrices:
    """D0 and D1 (2, 2) of arrivals whose rate switches."""
    rates = np.diag([arrivals.quiet_per_s, arrivals.peak_per_s])
    leave = np.array([1 / arrivals.quiet_s, 1 / arrivals.peak_s])
    return np.diag(leave)[:, ::-1] - np.diag(leave) - rates, rates
