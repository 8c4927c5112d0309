"""M/G/1 by Pollaczek and Khinchine, M/G/c by Lee and Longton: general service times."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mm1_planner.inputs import fraction, positive, whole
from mm1_planner.models.answer import Answer, steady, unstable
from mm1_planner.models.erlang import slack_per_s, wait_probability
from mm1_planner.models.invert import percentile_of, upper_bracket
from mm1_planner.service import Service

# The points that stand for the service law when its tail is mixed with the wait's. Their shares shrink
# towards the tail: 2048 equal ones would leave two points beyond the p99.9.
_EDGES = 1 - (1 - np.arange(2049) / 2048) ** 3
_SHARES = np.diff(_EDGES)
_LEVELS = (_EDGES[1:] + _EDGES[:-1]) / 2

_METHODS = {"M/G/1": "exact means, approximate percentiles", "M/G/c": "approximate, Lee-Longton"}


@dataclass(frozen=True)
class MGc:
    r"""M/G/c. Means exact for one server; all else approximate, which the answer's `method` says.

    $$ W_q \approx \frac{1+c_s^2}{2}\,W_q^{M/M/c},\qquad P(W_q>t) \approx C\,e^{-Ct/W_q} $$

    with $c_s^2$ the squared coefficient of variation of the service and C Erlang's. With c = 1 the mean is
    Pollaczek and Khinchine's and $P(W_q>0)=\rho$, both exact; the exponential shape of the tail holds in
    heavy traffic.

    Parameters
    ----------
    arrival_rate_per_s : float
        $\lambda$.
    service : Service
        Law of the service time.
    servers : int
        c, up to 1e6.

    Raises
    ------
    BadInput
        If a number is out of range.

    Notes
    -----
    When this is wrong: heavy-tailed service with several servers, and percentiles far above the mean. The
    simulation printed beside it decides. Lee and Longton (1959); Gross et al., sections 5.1 and 7.1.

    Examples
    --------
    >>> from mm1_planner.service import Constant
    >>> round(MGc(0.5, Constant(1.0)).answer().mean_wait_s, 12)
    0.5
    """

    arrival_rate_per_s: float
    service: Service
    servers: int = 1

    def __post_init__(self) -> None:
        positive("arrival rate", self.arrival_rate_per_s)
        positive("service time", self.service.mean_s)
        whole("servers", self.servers)

    @property
    def utilization(self) -> float:
        r"""$\rho=\lambda E[S]/c$, also where it exceeds 1."""
        return self.arrival_rate_per_s * self.service.mean_s / self.servers

    @cached_property
    def wait_probability(self) -> float:
        """Share of customers that wait at all: exact for one server, Erlang C for more."""
        return wait_probability(self.arrival_rate_per_s, 1 / self.service.mean_s, self.servers)

    @cached_property
    def mean_wait_s(self) -> float:
        """Mean wait, seconds."""
        slack = slack_per_s(self.arrival_rate_per_s, 1 / self.service.mean_s, self.servers)
        return (1 + self.service.scv) / 2 * self.wait_probability / slack if slack > 0 else math.inf

    def wait_tail(self, time_s: float) -> float:
        """Share of customers that wait longer than `time_s` seconds, approximately."""
        return self.wait_probability * math.exp(-time_s * self._decay_per_s)

    def sojourn_tail(self, time_s: float) -> float:
        """Share of customers that stay longer than `time_s` seconds, approximately."""
        left = np.maximum(time_s - self._service_grid, 0.0)
        waited = self.wait_probability * np.exp(-left * self._decay_per_s)
        return float(np.where(self._service_grid > time_s, 1.0, waited) @ _SHARES)

    def wait_percentile(self, level: float) -> float:
        """Time in seconds that a share `level` waits at most; 0 within the atom."""
        exceeding = 1 - fraction("level", level)
        if self.wait_probability <= exceeding:
            return 0.0
        return math.log(self.wait_probability / exceeding) / self._decay_per_s

    def sojourn_percentile(self, level: float) -> float:
        """Time in seconds that a share `level` stays at most."""
        exceeding = 1 - fraction("level", level)
        high = upper_bracket(self.sojourn_tail, exceeding, self.service.mean_s)
        return percentile_of(self.sojourn_tail, exceeding, 0.0, high)

    def answer(self) -> Answer:
        """Means and percentiles, or the unstable answer."""
        model = "M/G/1" if self.servers == 1 else "M/G/c"
        if not math.isfinite(self.mean_wait_s):
            return unstable(model, self.utilization)
        rate = self.arrival_rate_per_s
        return steady(
            model,
            method=_METHODS[model],
            utilization=self.utilization,
            wait_probability=self.wait_probability,
            mean_in_system=rate * (self.mean_wait_s + self.service.mean_s),
            mean_in_queue=rate * self.mean_wait_s,
            mean_wait_s=self.mean_wait_s,
            mean_sojourn_s=self.mean_wait_s + self.service.mean_s,
            wait_percentile=self.wait_percentile,
            sojourn_percentile=self.sojourn_percentile,
        )

    @property
    def _decay_per_s(self) -> float:
        return self.wait_probability / self.mean_wait_s

    @cached_property
    def _service_grid(self) -> np.ndarray:
        return np.asarray(self.service.quantile(_LEVELS))
