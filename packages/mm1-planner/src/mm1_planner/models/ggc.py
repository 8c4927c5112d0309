"""GI/G/1 and GI/G/c: independent gaps and services of any law, with the range where it may be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mm1_planner.inputs import fraction, whole
from mm1_planner.models.answer import Answer, steady, unstable
from mm1_planner.models.excess import excess, scaled
from mm1_planner.models.gimc import GIMc
from mm1_planner.models.heavy_share import heavy_share
from mm1_planner.models.invert import percentile_of, upper_bracket
from mm1_planner.models.lattice import LatticeWait, lattice_wait
from mm1_planner.models.mdc import MDc
from mm1_planner.models.mmc import MMc
from mm1_planner.service import Constant, Exponential, Gamma, Service

MEAN_ERROR, P99_ERROR = 0.10, 0.15
"""Largest errors in the declared range, held by `benchmarks/ggc_study.py` and a test."""

_LOADS, _SERVERS, _SCV, _WAITING = (0.5, 0.95), 64, 4.0, 0.15
_LEAST_SCV = 0.5
"""Of gaps and services together: where both are nearly constant, waits are too rare to interpolate."""
_BUSY = 0.9
_EDGES = 1 - (1 - np.arange(2049) / 2048) ** 3
_SHARES = np.diff(_EDGES)
_LEVELS = (_EDGES[1:] + _EDGES[:-1]) / 2
_WIDTH = 1e-9
_ROUNDING = 1e-9


@dataclass(frozen=True)
class GGc:
    r"""GI/G/c, first come first served: one server numerically exact, several approximate.

    One server: the wait as the largest value of a random walk (`lattice_wait`). Several: GI/D/c is one server
    with c gaps for each service, GI/M/c has a formula, and G stands between them, or beyond, as it does with
    Poisson arrivals:

    $$ W\approx W_D+\frac{r_G-r_D}{1-r_D}(W_M-W_D),\qquad
    r_G=g_0+\frac{r_D-\frac c{c+1}}{\frac12-\frac c{c+1}}\Bigl(\frac{1+c_s^2}2-g_0\Bigr) $$

    where r is the mean wait of M/·/c over that of M/M/c, with its limits in light traffic,
    $g_0=c\int(1-G_e)^c/m$, and in heavy traffic. The tail is that of one server c times as fast, which decays
    at the same rate, times the ratio of the means.

    Parameters
    ----------
    gap, service : Service
        Laws of the time between arrivals and of the service.
    servers : int
        c, up to 1e6; declared up to 64.

    Raises
    ------
    BadInput
        If a number is out of range.

    Notes
    -----
    `declared` says where mean wait and p99 are within 10 % and 15 %: one server; several at loads of 0.5 to
    0.95 and scv up to 4, together at least 0.5, if at least 15 % wait and the service's scv is at most 1, or
    2 from a load of 0.9 on, or 4 for gamma laws there. Two moments do not suffice beyond: at scv 4 a
    lognormal law and a gamma law with the same two wait a quarter apart. Elsewhere the answer's method says
    to simulate. Cost about 0.1 s.
    Burman and Smith, A light-traffic theorem for multi-server queues (1983); Kimura, Approximations for
    multi-server queues (1994); Takács for GI/M/c.

    Examples
    --------
    >>> queue = GGc(Constant(1.25), Exponential(1.0))  # D/M/1
    >>> round(queue.mean_wait_s, 2)
    1.69
    """

    gap: Service
    service: Service
    servers: int = 1

    def __post_init__(self) -> None:
        whole("servers", self.servers)

    @property
    def utilization(self) -> float:
        """Load per server, also where it exceeds 1."""
        return self.service.mean_s / self.gap.mean_s / self.servers

    @cached_property
    def _one(self) -> LatticeWait:
        """The wait of one server c times as fast."""
        return lattice_wait(self.gap, scaled(self.service, 1 / self.servers))

    @cached_property
    def mean_wait_s(self) -> float:
        """Mean wait, seconds."""
        if self.utilization >= 1:
            return math.inf
        if self.service.scv == 0 == self.gap.scv:
            return 0.0
        if self.servers == 1:
            return self._one.mean_s
        constant = lattice_wait(self.gap, Constant(self.service.mean_s), gaps=self.servers).mean_s
        if self.service.scv == 0:
            return constant
        exponential = GIMc(self.gap, 1 / self.service.mean_s, self.servers).mean_wait_s
        return max(0.0, constant + self._place * (exponential - constant))

    @cached_property
    def _place(self) -> float:
        """Where the law stands between constant (0) and exponential (1) service under Poisson arrivals."""
        if isinstance(self.service, Exponential):
            return 1.0
        rate, mean, count = 1 / self.gap.mean_s, self.service.mean_s, self.servers
        constant = (
            MDc(rate, mean, count).answer().mean_wait_s / MMc(rate, 1 / mean, count).answer().mean_wait_s
        )
        own = _light_traffic(self.service, count)
        mixed = own + heavy_share(self.utilization, count) * ((1 + self.service.scv) / 2 - own)
        return (mixed - constant) / (1 - constant)

    @cached_property
    def _share(self) -> float:
        """Factor of the tail of one fast server."""
        return self.mean_wait_s / self._one.mean_s if self._one.mean_s > 0 else 0.0

    @property
    def wait_probability(self) -> float:
        """Share of customers that wait."""
        if self.utilization >= 1:
            return 1.0
        return min(1.0, self._share * self._one.probability)

    @property
    def declared(self) -> bool:
        """Whether the errors are known to be within 10 % (mean) and 15 % (p99)."""
        scv, load = self.service.scv, self.utilization
        if max(scv, self.gap.scv) > _SCV or not load < 1:
            return False
        if self.servers == 1:
            return load <= _LOADS[1] + _ROUNDING
        light = isinstance(self.service, Constant | Exponential | Gamma)
        mild = scv <= 1 or (load >= _BUSY and (scv <= 2 or light))
        inside = _LOADS[0] - _ROUNDING <= load <= _LOADS[1] + _ROUNDING and self.servers <= _SERVERS
        random = scv + self.gap.scv >= _LEAST_SCV
        return inside and mild and random and self.wait_probability >= _WAITING

    def wait_tail(self, time_s: float) -> float:
        """Share of customers that wait longer than `time_s` seconds."""
        return float(self._tail(np.array([time_s]))[0])

    def _tail(self, times_s: np.ndarray) -> np.ndarray:
        if self.utilization >= 1:
            return np.ones(times_s.shape)
        return np.minimum(self._share * self._one.tail(times_s), 1.0)

    def sojourn_tail(self, time_s: float) -> float:
        """Share of customers that stay longer than `time_s` seconds."""
        left = time_s - self._service_grid
        return float(np.where(left < 0, 1.0, self._tail(np.maximum(left, 0.0))) @ _SHARES)

    @cached_property
    def _service_grid(self) -> np.ndarray:
        return np.asarray(self.service.quantile(_LEVELS))

    def wait_percentile(self, level: float) -> float:
        """Time in seconds that a share `level` waits at most; 0 within the atom."""
        exceeding = 1 - fraction("level", level)
        if self.utilization >= 1:
            return math.inf
        if self.wait_probability <= exceeding:
            return 0.0
        high = upper_bracket(self.wait_tail, exceeding, self.mean_wait_s)
        return percentile_of(self.wait_tail, exceeding, 0.0, high, relative=_WIDTH)

    def sojourn_percentile(self, level: float) -> float:
        """Time in seconds that a share `level` stays at most."""
        exceeding = 1 - fraction("level", level)
        if self.utilization >= 1:
            return math.inf
        high = upper_bracket(self.sojourn_tail, exceeding, self.mean_wait_s + self.service.mean_s)
        return percentile_of(self.sojourn_tail, exceeding, 0.0, high, relative=_WIDTH)

    def answer(self) -> Answer:
        """Means and percentiles, or the unstable answer; `method` says whether they may be trusted."""
        model = "GI/G/1" if self.servers == 1 else "GI/G/c"
        if self.utilization >= 1:
            return unstable(model, self.utilization)
        rate, wait = 1 / self.gap.mean_s, self.mean_wait_s
        method = "approximate, mean within 10 % and p99 within 15 %"
        if not self.declared:
            method = "approximate, outside its declared range: simulate"
        elif self.servers == 1:
            method = "numerical, on a lattice"
        return steady(
            model,
            method=method,
            utilization=self.utilization,
            wait_probability=self.wait_probability,
            mean_in_system=rate * (wait + self.service.mean_s),
            mean_in_queue=rate * wait,
            mean_wait_s=wait,
            mean_sojourn_s=wait + self.service.mean_s,
            wait_percentile=self.wait_percentile,
            sojourn_percentile=self.sojourn_percentile,
        )


def _light_traffic(law: Service, servers: int) -> float:
    """Mean wait over that of exponential service where the load goes to 0: all c residual lives are long."""
    reach = law.mean_s * (1 + 50 * math.sqrt(law.scv))
    times = np.concatenate([[0.0], np.geomspace(1e-7, 1.0, 4000)]) * reach
    left = excess(law, times) / law.mean_s
    return servers * float(np.trapezoid(left**servers, times)) / law.mean_s
