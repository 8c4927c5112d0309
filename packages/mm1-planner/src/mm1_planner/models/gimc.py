"""GI/M/c: independent gaps of any law, exponential service, c servers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mm1_planner.inputs import positive, whole
from mm1_planner.service import Service

_APART = 1e-6


@dataclass(frozen=True)
class GIMc:
    r"""GI/M/c: its wait, exact.

    $$ P(W>t)=\frac{J}{1-\sigma}e^{-c\mu(1-\sigma)t},\quad \sigma=A(c\mu(1-\sigma)),\quad
    \frac1J=\frac1{1-\sigma}+\sum_{k=1}^c\binom ck\frac{c(1-A_k)-k}{C_k(1-A_k)\,(c(1-\sigma)-k)} $$

    with A the transform of the gap, $A_k=A(k\mu)$, $C_k=\prod_{i\le k}A_i/(1-A_i)$. Takács, Introduction to
    the Theory of Queues, section 2.3.

    Parameters
    ----------
    gap : Service
        Law of the gaps.
    service_rate_per_s : float
        $\mu$ of one server.
    servers : int
        c.
    """

    gap: Service
    service_rate_per_s: float
    servers: int

    def __post_init__(self) -> None:
        positive("service rate", self.service_rate_per_s)
        whole("servers", self.servers)

    def _transform(self, s: np.ndarray) -> np.ndarray:
        return np.asarray(1 - s * self.gap.mean_s * (1 - self.gap.residual_deficit(s + 0j).real))

    @cached_property
    def sigma(self) -> float:
        """Root of the gap's transform, by bisection of a function that is 0 at 1 too."""
        rate = self.servers * self.service_rate_per_s
        low, high = 0.0, 1.0 - 1e-12
        while low < (middle := (low + high) / 2) < high:
            above = float(self._transform(np.array([rate * (1 - middle)]))[0]) > middle
            low, high = (middle, high) if above else (low, middle)
        return low

    @cached_property
    def wait_probability(self) -> float:
        """Share of customers that wait."""
        mu, count = self.service_rate_per_s, self.servers
        numbers = np.arange(1, count + 1)
        found = self._transform(numbers * mu)
        # Where c (1 - sigma) is a whole number numerator and denominator vanish together: the derivative.
        near = (self._transform((numbers + 1e-4) * mu) - self._transform((numbers - 1e-4) * mu)) / 2e-4
        below = count * (1 - self.sigma) - numbers
        apart = np.abs(below) > _APART
        ratios = np.where(
            apart, (count * (1 - found) - numbers) / np.where(apart, below, 1.0), 1 + count * near
        )
        logs = np.cumsum(np.log(found / (1 - found)))
        choose = np.array(
            [math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) for k in numbers]
        )
        total = 1 / (1 - self.sigma) + float(np.sum(np.exp(choose - logs) / (1 - found) * ratios))
        return 1 / total / (1 - self.sigma)

    @property
    def mean_wait_s(self) -> float:
        """Mean wait, seconds."""
        return self.wait_probability / (self.servers * self.service_rate_per_s * (1 - self.sigma))
