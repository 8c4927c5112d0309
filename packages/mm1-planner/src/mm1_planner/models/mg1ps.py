"""M/G/1 with processor sharing: the mean exactly, percentiles by two exact conditional moments."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mm1_planner.inputs import fraction, positive
from mm1_planner.models.answer import Answer, steady, unstable
from mm1_planner.models.invert import percentile_of, upper_bracket
from mm1_planner.service import Service

_EDGES = 1 - (1 - np.arange(1025) / 1024) ** 3
_SHARES = np.diff(_EDGES)
_LEVELS = (_EDGES[1:] + _EDGES[:-1]) / 2
_WIDTH = 1e-9


@dataclass(frozen=True)
class MG1PS:
    r"""M/G/1-PS: all customers are served at once, each of n at speed 1/n.

    The mean sojourn of a customer with work x is $x/(1-\rho)$ whatever the law, so $E[T]=E[S]/(1-\rho)$,
    exact. Its variance is $\frac{2}{(1-\rho)^2}\int_0^x(x-u)P(W>u)\,du$, W the wait of the same queue first
    come first served, taken here as $\rho e^{-u\rho/E[W]}$, exact for exponential work. Percentiles mix over
    x the gamma law beyond x with these two moments.

    Parameters
    ----------
    arrival_rate_per_s : float
        $\lambda$.
    service : Service
        Law of the work.

    Raises
    ------
    BadInput
        If a number is out of range.

    Notes
    -----
    Percentiles are approximate, a few per cent against `Sharing`, which is exact for exponential work; tests
    hold the p99 to 5 % of simulations. Yashkov, Processor-sharing queues: some progress in analysis (1987).

    Examples
    --------
    >>> from mm1_planner.service import Constant
    >>> round(MG1PS(0.75, Constant(1.0)).mean_sojourn_s, 9)
    4.0
    """

    arrival_rate_per_s: float
    service: Service

    def __post_init__(self) -> None:
        positive("arrival rate", self.arrival_rate_per_s)
        positive("service time", self.service.mean_s)

    @property
    def utilization(self) -> float:
        r"""$\rho$, also where it exceeds 1."""
        return self.arrival_rate_per_s * self.service.mean_s

    @property
    def mean_sojourn_s(self) -> float:
        """Mean sojourn, seconds."""
        idle = 1 - self.utilization
        return self.service.mean_s / idle if idle > 0 else math.inf

    @cached_property
    def _conditional(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Works on a grid of levels, and the shape and scale of what each takes beyond itself."""
        load, work = self.utilization, np.asarray(self.service.quantile(_LEVELS))
        work = work * (self.service.mean_s / float(work @ _SHARES))
        decay = 2 * (1 - load) / (self.service.mean_s * (1 + self.service.scv))
        x = decay * work
        # x - 1 + e^-x without the difference where x is small.
        curve = np.where(x < 1e-3, x * x / 2 - x**3 / 6, x + np.expm1(-x))
        variance = 2 * load * curve / (decay * (1 - load)) ** 2
        beyond = work * load / (1 - load)
        return work, beyond**2 / variance, variance / beyond

    def sojourn_tail(self, time_s: float) -> float:
        """Share of customers that stay longer than `time_s` seconds."""
        from scipy.special import gammaincc

        if self.utilization >= 1:
            return 1.0
        work, shape, scale = self._conditional
        left = np.maximum(time_s - work, 0.0)
        return float(np.where(work > time_s, 1.0, gammaincc(shape, left / scale)) @ _SHARES)

    def sojourn_percentile(self, level: float) -> float:
        """Time in seconds that a share `level` stays at most."""
        exceeding = 1 - fraction("level", level)
        if self.utilization >= 1:
            return math.inf
        high = upper_bracket(self.sojourn_tail, exceeding, self.mean_sojourn_s)
        return percentile_of(self.sojourn_tail, exceeding, 0.0, high, relative=_WIDTH)

    def answer(self) -> Answer:
        """Means and percentiles, or the unstable answer; nobody waits."""
        if self.utilization >= 1:
            return unstable("M/G/1-PS", self.utilization)
        return steady(
            "M/G/1-PS",
            method="exact means, approximate percentiles",
            utilization=self.utilization,
            wait_probability=0.0,
            mean_in_system=self.arrival_rate_per_s * self.mean_sojourn_s,
            mean_in_queue=0.0,
            mean_wait_s=0.0,
            mean_sojourn_s=self.mean_sojourn_s,
            wait_percentile=lambda level: 0.0,
            sojourn_percentile=self.sojourn_percentile,
        )
