"""M/M/1: Poisson arrivals, exponential service, one server."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mm1_planner.inputs import fraction, positive
from mm1_planner.models.answer import Answer, steady, unstable


@dataclass(frozen=True)
class MM1:
    r"""M/M/1, exact.

    $$ \rho=\lambda/\mu,\quad L=\frac{\lambda}{\mu-\lambda},\quad W=\frac{1}{\mu-\lambda},\quad
    P(T>t)=e^{-(\mu-\lambda)t},\quad P(W_q>t)=\rho e^{-(\mu-\lambda)t} $$

    Parameters
    ----------
    arrival_rate_per_s, service_rate_per_s : float
        $\lambda$ and $\mu$.

    Raises
    ------
    BadInput
        If a rate is not a positive finite number in range.

    Notes
    -----
    Relative error of a few $2^{-53}$: $\mu-\lambda$ is exact for floats within a factor of two (Sterbenz).
    Kleinrock, Queueing Systems I, sections 3.2 and 5.12.

    Examples
    --------
    >>> MM1(5, 8).answer().mean_in_queue
    1.0416666666666667
    """

    arrival_rate_per_s: float
    service_rate_per_s: float

    def __post_init__(self) -> None:
        positive("arrival rate", self.arrival_rate_per_s)
        positive("service rate", self.service_rate_per_s)

    @property
    def utilization(self) -> float:
        r"""$\rho = \lambda/\mu$, also where it exceeds 1."""
        return self.arrival_rate_per_s / self.service_rate_per_s

    @property
    def _slack(self) -> float:
        return self.service_rate_per_s - self.arrival_rate_per_s

    def wait_percentile(self, level: float) -> float:
        """Time in seconds that a share `level` of the customers waits at most; 0 within the atom."""
        exceeding = 1 - fraction("level", level)
        if self._slack <= 0:
            return math.inf
        return max(0.0, math.log(self.utilization / exceeding) / self._slack)

    def sojourn_percentile(self, level: float) -> float:
        """Time in seconds that a share `level` of the customers spends in the system at most."""
        exceeding = 1 - fraction("level", level)
        return -math.log(exceeding) / self._slack if self._slack > 0 else math.inf

    def answer(self) -> Answer:
        """Means and percentiles, or the unstable answer."""
        if self._slack <= 0:
            return unstable("M/M/1", self.utilization)
        in_system = self.arrival_rate_per_s / self._slack
        return steady(
            "M/M/1",
            method="exact",
            utilization=self.utilization,
            wait_probability=self.utilization,
            mean_in_system=in_system,
            mean_in_queue=self.utilization * in_system,
            mean_wait_s=self.utilization / self._slack,
            mean_sojourn_s=1 / self._slack,
            wait_percentile=self.wait_percentile,
            sojourn_percentile=self.sojourn_percentile,
        )
