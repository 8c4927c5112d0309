"""GI/G/1 and GI/G/c: independent gaps and services of any law, with the range where it may be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mm1_planner.inputs import fraction, whole
from mm1_planner.models.answer import Answer, steady, unstable
from mm1_planner.models.departures import wait_beyond
from mm1_planner.models.gimc import GIMc
from mm1_planner.models.invert import percentile_of, upper_bracket
from mm1_planner.models.lattice import LatticeWait, lattice_wait
from mm1_planner.models.map_ph_c import MAPPHc
from mm1_planner.models.phases import erlang_phases
from mm1_planner.models.two_phases import LEAST_SCV, gap_phases, is_exponential, two_phase_service
from mm1_planner.models.waits import ExponentialWait, TabledWait, Wait, tabled
from mm1_planner.service import Constant, Service

MEAN_ERROR, P99_ERROR = 0.10, 0.15
"""Largest errors in the declared range, judged by `benchmarks/ggc_study.py` on cells that took no part."""

_LOADS, _SCV = (0.5, 0.95), 4.0
_SELDOM, _RARELY = 0.5, 0.05
"""Least share that waits, behind regular gaps and behind others: what hardly anybody waits is a matter of the
laws' finest detail. Chosen on the choosing cells of `benchmarks/ggc_reference.py`: none of them is beyond
half of the errors allowed."""
_MOST_SERVERS = 64
"""Beyond, there are too many states."""
_RARE, _FULL = 1e-9, 0.99
"""Shares that wait, and loads, where phases tell no more than two moments do."""
_STATES = 320
"""Of a level, most: gaps have more phases where servers are few."""
_TIMES = np.concatenate([[0.0], np.geomspace(1e-2, 30.0, 120)])
"""Over the mean of those who wait."""
_EDGES = 1 - (1 - np.arange(2049) / 2048) ** 3
_SHARES = np.diff(_EDGES)
_LEVELS = (_EDGES[1:] + _EDGES[:-1]) / 2
_WIDTH = 1e-9
_ROUNDING = 1e-9


@dataclass(frozen=True)
class GGc:
    r"""GI/G/c, first come first served: exact for exponential service, else numerical or approximate.

    One server: the wait as the largest value of a random walk (`lattice_wait`); constant service on c servers
    likewise, with c gaps for each service. Exponential service: GI/M/c has a formula. Other laws up to 64
    servers and loads of 0.99: MAP/PH/c (`MAPPHc`), the service of two phases and the gaps of a few, times
    what GI/M/c says of the true gaps over what it says of theirs. Services with a scv below 1/2 stand between
    the constant and the two equal phases, quantile by quantile. Beyond: GI/M/c times
    $(c_a^2+c_s^2)/(c_a^2+1)$.

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
    `declared` says where mean wait and p99 are within 10 % and 15 %: exponential service; one server up to a
    load of 0.95; up to 64 at loads from 0.5 to 0.95, if at least 5 % wait, or half behind gaps of a scv below
    1; scv up to 4. `benchmarks/ggc_study.py` judges it on queues that took no part in the choice. Elsewhere
    the answer's method says to simulate. Cost O(c^4): a second for 64 servers.
    Takács, Introduction to the Theory of Queues (1962) for GI/M/c; Seelen, Tijms and van Hoorn, Tables for
    Multi-Server Queues (1985) for interpolation between service laws.

    Examples
    --------
    >>> from mm1_planner.service import Exponential
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
    def _wait(self) -> Wait:
        """The law of the wait at a load below 1."""
        if self.service.scv == 0 == self.gap.scv:
            return ExponentialWait(0.0, 0.0)
        if is_exponential(self.service):
            return self._exponential
        if self.servers == 1:
            return lattice_wait(self.gap, self.service)
        if self.service.scv == 0:
            return self._constant
        rare = self._exponential.probability < _RARE
        if rare or self.servers > _MOST_SERVERS or self.utilization > _FULL:
            spread = (self.gap.scv + self.service.scv) / (self.gap.scv + 1)
            return ExponentialWait(self._exponential.probability, spread * self._exponential.mean_s)
        if self.service.scv >= LEAST_SCV:
            return self._of_phases
        constant = self._constant
        times = np.concatenate([[0.0], (np.arange(constant.beyond.size) + 0.5) * constant.step_s])
        law = tabled(
            constant.probability, constant.mean_s, times, np.append(constant.probability, constant.beyond)
        )
        return law.towards(self._of_phases, self.service.scv / LEAST_SCV)

    @cached_property
    def _exponential(self) -> ExponentialWait:
        """GI/M/c with the same mean service."""
        queue = GIMc(self.gap, 1 / self.service.mean_s, self.servers)
        return ExponentialWait(queue.wait_probability, queue.mean_wait_s)

    @cached_property
    def _constant(self) -> LatticeWait:
        """GI/D/c with the same mean service."""
        return lattice_wait(self.gap, Constant(self.service.mean_s), gaps=self.servers)

    @cached_property
    def _of_phases(self) -> TabledWait:
        """With services of two phases, and gaps that are phase-type or scaled to agree with GI/M/c."""
        mean, most = self.service.mean_s, max(1, _STATES // (self.servers + 1))
        arrivals = gap_phases(self.gap, mean, self.servers, most)
        phased = MAPPHc(arrivals, erlang_phases(mean, 1), self.servers)
        exponential = ExponentialWait(phased.wait_probability, phased.mean_wait_s)
        phases = two_phase_service(self.service)
        if len(phases[0]) == 1:
            law = tabled(exponential.probability, exponential.mean_s, *_table(exponential))
        else:
            queue = MAPPHc(arrivals, phases, self.servers)
            times = _TIMES * queue.mean_wait_s / queue.wait_probability
            law = tabled(queue.wait_probability, queue.mean_wait_s, times, wait_beyond(queue, times))
        own = self._exponential
        share = own.probability / exponential.probability
        factor = own.mean_s / exponential.mean_s / share
        # Gaps more regular than the phases allow: as in heavy traffic, by the sum of the scvs.
        fewest, spread = max(self.gap.scv, 1 / most), max(self.service.scv, LEAST_SCV)
        if self.gap.scv < fewest:
            factor *= (self.gap.scv + spread) / (self.gap.scv + 1) / (fewest + spread) * (fewest + 1)
        return law.stretched(share, factor)

    @property
    def mean_wait_s(self) -> float:
        """Mean wait, seconds."""
        return self._wait.mean_s if self.utilization < 1 else math.inf

    @property
    def wait_probability(self) -> float:
        """Share of customers that wait."""
        return self._wait.probability if self.utilization < 1 else 1.0

    @property
    def declared(self) -> bool:
        """Whether the errors are known to be within 10 % (mean) and 15 % (p99)."""
        if is_exponential(self.service):
            return True
        load, regular = self.utilization, self.gap.scv < 1 and self.service.scv > 0
        if max(self.service.scv, self.gap.scv) > _SCV or load > _LOADS[1] + _ROUNDING:
            return False
        if self.servers == 1:
            return True
        inside = load >= _LOADS[0] - _ROUNDING and self.servers <= _MOST_SERVERS
        return inside and self.wait_probability >= (_SELDOM if regular else _RARELY)

    def wait_tail(self, time_s: float) -> float:
        """Share of customers that wait longer than `time_s` seconds."""
        return float(self._tail(np.array([time_s]))[0])

    def _tail(self, times_s: np.ndarray) -> np.ndarray:
        return self._wait.tail(times_s) if self.utilization < 1 else np.ones(times_s.shape)

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
        if is_exponential(self.service):
            model, method = model.replace("/G/", "/M/"), "exact"
        elif not self.declared:
            method = "approximate, outside its declared range: simulate"
        elif self.servers == 1 or self.service.scv == 0:
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


def _table(wait: ExponentialWait) -> tuple[np.ndarray, np.ndarray]:
    times = _TIMES * wait.mean_s / wait.probability
    return times, wait.tail(times)
