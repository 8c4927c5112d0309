"""M/G/1: Poisson arrivals, any law of service, one server."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mm1_planner.inputs import fraction, positive
from mm1_planner.models.answer import Answer, steady, unstable
from mm1_planner.models.inversion import invert
from mm1_planner.models.invert import percentile_of, upper_bracket
from mm1_planner.service import Service


@dataclass(frozen=True)
class MG1:
    r"""M/G/1, exact: Pollaczek and Khinchine's mean, and their transform inverted for the percentiles.

    $$ E[W_q]=\frac{\lambda E[S^2]}{2(1-\rho)},\qquad
    \int_0^\infty e^{-st}P(W_q>t)\,dt=\frac{\rho\,\delta(s)}{s\,(1-\rho+\rho\,\delta(s))} $$

    where $1-\delta(s)$ is the transform of the service time that is left at an arrival; laws answer
    $\delta$ itself (`residual_deficit`), since it is small where it matters and a difference would lose it.

    Parameters
    ----------
    arrival_rate_per_s : float
        $\lambda$.
    service : Service
        Law of the service time. Constant service is `MDc`, which is exact without an inversion; the times of
        a trace make steps, between which the inversion smooths.

    Raises
    ------
    BadInput
        If a number is out of range.

    Notes
    -----
    Each percentile costs about ten inversions. Its error is about 1e-9 relative for the smooth laws, held by
    tests against 40-digit references. Gross et al., section 5.1; Abate and Whitt (1992).

    Examples
    --------
    >>> from mm1_planner.service import Gamma
    >>> round(MG1(0.5, Gamma(1.0, 2.0)).answer().mean_wait_s, 12)
    2.5
    """

    arrival_rate_per_s: float
    service: Service

    def __post_init__(self) -> None:
        positive("arrival rate", self.arrival_rate_per_s)
        positive("service time", self.service.mean_s)

    @property
    def utilization(self) -> float:
        r"""$\rho=\lambda E[S]$, also where it exceeds 1; for one server also the share that waits."""
        return self.arrival_rate_per_s * self.service.mean_s

    @cached_property
    def mean_wait_s(self) -> float:
        """Mean wait, seconds."""
        second = self.service.mean_s**2 * (1 + self.service.scv)
        idle = 1 - self.utilization
        return self.arrival_rate_per_s * second / (2 * idle) if idle > 0 else math.inf

    def _wait_transform(self, s: np.ndarray) -> np.ndarray:
        deficit = self.utilization * self.service.residual_deficit(s)
        return np.asarray(deficit / (s * (1 - self.utilization + deficit)))

    def _sojourn_transform(self, s: np.ndarray) -> np.ndarray:
        residual = self.service.residual_deficit(s)
        idle = 1 - self.utilization
        # 1 - (1 - u)(1 - v) = u + v - u v, with u of the wait and v of the service.
        wait = self.utilization * residual / (idle + self.utilization * residual)
        service = s * self.service.mean_s * (1 - residual)
        return np.asarray((wait + service - wait * service) / s)

    def wait_tail(self, time_s: float) -> float:
        """Share of customers that wait longer than `time_s` seconds."""
        if self.utilization >= 1:
            return 1.0
        if time_s <= 0:
            return self.utilization
        return min(max(invert(self._wait_transform, time_s), 0.0), self.utilization)

    def sojourn_tail(self, time_s: float) -> float:
        """Share of customers that stay longer than `time_s` seconds."""
        if self.utilization >= 1 or time_s <= 0:
            return 1.0
        return min(max(invert(self._sojourn_transform, time_s), 0.0), 1.0)

    def wait_percentile(self, level: float) -> float:
        """Time in seconds that a share `level` waits at most; 0 within the atom."""
        exceeding = 1 - fraction("level", level)
        if self.utilization >= 1:
            return math.inf
        if self.utilization <= exceeding:
            return 0.0
        return percentile_of(
            self.wait_tail, exceeding, 0.0, upper_bracket(self.wait_tail, exceeding, self.mean_wait_s)
        )

    def sojourn_percentile(self, level: float) -> float:
        """Time in seconds that a share `level` stays at most."""
        exceeding = 1 - fraction("level", level)
        if self.utilization >= 1:
            return math.inf
        high = upper_bracket(self.sojourn_tail, exceeding, self.mean_wait_s + self.service.mean_s)
        return percentile_of(self.sojourn_tail, exceeding, 0.0, high)

    def answer(self) -> Answer:
        """Means and percentiles, or the unstable answer."""
        if self.utilization >= 1:
            return unstable("M/G/1", self.utilization)
        rate = self.arrival_rate_per_s
        return steady(
            "M/G/1",
            method="exact",
            utilization=self.utilization,
            wait_probability=self.utilization,
            mean_in_system=rate * (self.mean_wait_s + self.service.mean_s),
            mean_in_queue=rate * self.mean_wait_s,
            mean_wait_s=self.mean_wait_s,
            mean_sojourn_s=self.mean_wait_s + self.service.mean_s,
            wait_percentile=self.wait_percentile,
            sojourn_percentile=self.sojourn_percentile,
        )
