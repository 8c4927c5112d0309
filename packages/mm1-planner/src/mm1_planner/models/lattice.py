"""The wait of GI/G/1 on a lattice: the largest value of a random walk, by Spitzer's identity."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mm1_planner.models.excess import on_lattice
from mm1_planner.service import Service

_POINTS = 1 << 16
_STEEPEST = 300.0
"""Logarithm of the largest weight of the tilted law: larger ones would leave no digits to its small ones."""


@dataclass(frozen=True, eq=False)
class LatticeWait:
    """A wait on multiples of a step.

    Attributes
    ----------
    step_s : float
        The step, seconds.
    beyond : ndarray
        P(W > k step), k = 0, 1, ..., float64.
    """

    step_s: float
    beyond: np.ndarray

    @property
    def mean_s(self) -> float:
        """Mean wait, seconds."""
        return self.step_s * float(self.beyond.sum())

    @property
    def probability(self) -> float:
        """Share that waits: more than half a step."""
        return float(self.beyond[0])

    def tail(self, times_s: np.ndarray) -> np.ndarray:
        """P(W > t), straight lines between the middles of the steps."""
        middles = (np.arange(self.beyond.size) + 0.5) * self.step_s
        return np.asarray(np.interp(times_s, middles, self.beyond, right=0.0))


def lattice_wait(gap: Service, service: Service, *, gaps: int = 1) -> LatticeWait:
    r"""The wait of a server with independent gaps and services, each gap a sum of `gaps` draws.

    With $\varphi$ the transform of service minus gap, $E z^W=\exp\sum_{k>0}a_k(z^k-1)$ with
    $a_k=[z^k](-\log(1-\varphi))$, by FFT on the circle where $\varphi$ is smallest, so that the tail keeps
    its relative accuracy. The lattice keeps the means of both laws.

    Notes
    -----
    Cost O(n log n), n = 65,536. The step is about 1/800 of the mean wait and service together; errors are of
    its order: below 1 % in the study of `benchmarks/ggc_study.py`. A service law with a heavy tail is cut
    where the lattice ends, 40 mean waits and 30 deviations out. Spitzer (1956); Ackroyd, Computing the
    waiting time distribution for the G/G/1 queue by signal processing methods (1980).
    """
    mean_gap = gap.mean_s * gaps
    load = service.mean_s / mean_gap
    typical = service.mean_s * (1 + (gap.scv / gaps + service.scv) / 2 / (1 - load))
    count = _POINTS // 2
    step = (40 * typical + 30 * math.sqrt(service.scv) * service.mean_s) / count
    served, waited = on_lattice(service, step, count), on_lattice(gap, step, count)
    numbers = np.arange(count)

    def logarithm(tilt: float) -> float:
        return math.log(served @ np.exp(tilt * numbers)) + gaps * math.log(waited @ np.exp(-tilt * numbers))

    tilt = _lowest(logarithm, _STEEPEST / count)
    up = np.fft.rfft(served * np.exp(tilt * numbers), _POINTS)
    down = np.fft.rfft(waited * np.exp(-tilt * numbers), _POINTS)
    terms = np.fft.irfft(-np.log1p(-up * np.conj(down) ** gaps), _POINTS)
    terms[0] = 0.0
    terms[count:] = 0.0  # the powers below 0
    law = np.fft.irfft(np.exp(np.fft.rfft(terms)), _POINTS)[:count]
    law = np.maximum(law, 0.0) * np.exp(-tilt * numbers)
    return LatticeWait(step, np.append(np.cumsum(law[:0:-1])[::-1] / law.sum(), 0.0))


def _lowest(function: Callable[[float], float], high: float) -> float:
    from scipy.optimize import minimize_scalar

    return float(minimize_scalar(function, bounds=(0.0, high), method="bounded").x)
