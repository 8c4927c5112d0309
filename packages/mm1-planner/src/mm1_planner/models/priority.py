"""Non-preemptive priorities: who waits is taken by class, who is served is not interrupted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mfi_command import BadInput
from mm1_planner.inputs import fraction, positive, whole
from mm1_planner.models.answer import Answer, steady, unstable
from mm1_planner.models.erlang import wait_probability
from mm1_planner.models.inversion import invert
from mm1_planner.models.invert import percentile_of, upper_bracket
from mm1_planner.service import Constant, Exponential, Service

_WIDTH = 1e-11
"""Relative width at which the search for a percentile ends: an inversion is not much more exact."""
_STEPS = 60
_CLOSE = 1e-10
"""Relative length of a secant step after which the next would be below rounding."""


@dataclass(frozen=True)
class PriorityClass:
    """Customers of one urgency.

    Attributes
    ----------
    arrival_rate_per_s : float
        Poisson arrivals.
    service : Service
        Law of their service time.
    """

    arrival_rate_per_s: float
    service: Service

    @property
    def load(self) -> float:
        """Busy servers that they need."""
        return self.arrival_rate_per_s * self.service.mean_s


@dataclass(frozen=True)
class Priority:
    r"""M/G/1 and M/M/c with non-preemptive priorities, exact: means and percentiles of each class.

    With $\sigma_k$ the load of the classes up to k, Cobham's mean and the transform of the tail are

    $$ E[W_k]=\frac{W_0}{(1-\sigma_{k-1})(1-\sigma_k)},\qquad
    \int_0^\infty e^{-st}P(W_k>t)\,dt=\frac1s\cdot
    \frac{\rho\,\delta(z)}{1-\sigma_k+\sigma_k\delta_{\le k}(z)},\quad
    s=z\,\bigl(1-\sigma_{k-1}+\sigma_{k-1}\delta_{<k}(z)\bigr) $$

    where $1-\delta$ are the transforms of the service time left, averaged over the classes by load, and z
    stretches the time by the busy periods of the classes that overtake; z is found for each s by a secant.
    While all of c exponential servers of one rate are busy they are one server c times as fast, so the wait
    of M/M/c is that one's, reached with Erlang's probability C.

    Parameters
    ----------
    classes : sequence of PriorityClass
        The most urgent first.
    servers : int
        c; more than one needs exponential service of one rate.

    Raises
    ------
    BadInput
        If a number is out of range, or several servers come with other laws.

    Notes
    -----
    A class is stable if the load up to it is below the servers, whatever comes after: a class that overloads
    the server keeps it busy with its own customers, and those behind it wait for ever. Error of percentiles
    about 1e-9 relative for smooth laws, held by tests against 40-digit references; constant services make
    kinks, which cost digits near them. Conway, Maxwell, Miller, Theory of Scheduling, section 8.6; Kella and
    Yechiali, Waiting times in the non-preemptive priority M/M/c queue (1985).

    Examples
    --------
    >>> from mm1_planner.service import Exponential
    >>> queue = Priority([PriorityClass(0.3, Exponential(1.0)), PriorityClass(0.5, Exponential(1.0))])
    >>> [round(queue.mean_wait_s(k), 9) for k in (0, 1)]
    [1.142857143, 5.714285714]
    """

    classes: Sequence[PriorityClass]
    servers: int = 1

    def __post_init__(self) -> None:
        whole("servers", self.servers)
        if not self.classes:
            raise BadInput("no classes; expected at least one")
        for each in self.classes:
            positive("arrival rate", each.arrival_rate_per_s)
            positive("service time", each.service.mean_s)
        laws = {each.service for each in self.classes} if self.servers > 1 else set()
        if len(laws) > 1 or not all(isinstance(law, Exponential) for law in laws):
            raise BadInput(
                "priorities on several servers: the formula needs exponential service of one mean in all "
                "classes; simulate_priorities takes any"
            )

    @cached_property
    def utilization(self) -> float:
        """Load per server, also where it exceeds 1."""
        return sum(each.load for each in self.classes) / self.servers

    def stable(self, number: int) -> bool:
        """Whether the class's wait has a steady state."""
        return self._up_to(number + 1) < 1

    def _up_to(self, count: int) -> float:
        return sum(each.load for each in self.classes[:count]) / self.servers

    @cached_property
    def _shares(self) -> list[float]:
        """Share of the time that each class keeps the servers busy: no more than is left for it."""
        left, shares = 1.0, []
        for each in self.classes:
            shares.append(min(each.load / self.servers, left))
            left -= shares[-1]
        return shares

    @cached_property
    def _busy(self) -> float:
        """Share of the customers that find all servers busy."""
        if self.utilization >= 1:
            return 1.0
        rate = sum(each.arrival_rate_per_s for each in self.classes)
        service = self.classes[0].service.mean_s
        return wait_probability(rate, 1 / service, self.servers) if self.servers > 1 else self.utilization

    def mean_wait_s(self, number: int) -> float:
        """Mean wait of a class, seconds; infinite where it is unstable."""
        if not self.stable(number):
            return math.inf
        left = sum(
            share * each.service.mean_s * (1 + each.service.scv) / 2
            for share, each in zip(self._shares, self.classes, strict=True)
        )
        # Of one server c times as fast, reached with the probability that all are busy.
        left *= self._busy / (sum(self._shares) * self.servers)
        return left / ((1 - self._up_to(number)) * (1 - self._up_to(number + 1)))

    def _deficit(self, z: np.ndarray, count: int) -> np.ndarray:
        """Sum over the first classes of share times the transform's deficit of the service left."""
        found = np.zeros(z.shape, dtype=complex)
        for share, each in zip(self._shares[:count], self.classes[:count], strict=True):
            found += share * each.service.residual_deficit(z / self.servers)
        return found

    def _stretched(self, s: np.ndarray, number: int) -> np.ndarray:
        """The z of each s: the time that passes while the classes before `number` are served too."""
        if number == 0:
            return s
        idle = 1 - self._up_to(number)

        def off(z: np.ndarray) -> np.ndarray:
            return np.asarray(z * (idle + self._deficit(z, number)) - s)

        left = sum(
            share * each.service.mean_s * (1 + each.service.scv) / 2
            for share, each in zip(self._shares[:number], self.classes[:number], strict=True)
        ) / (self._up_to(number) * self.servers)
        # Exact where the service left is exponential.
        half = (s * left - idle) / 2
        before = half + np.sqrt(half * half + s * left)
        before = np.where(before.real > 0, before, s) / left
        now, error = before * (1 + 1e-6), off(before)
        for _ in range(_STEPS):
            new_error = off(now)
            change = np.where(new_error == error, 0.0, (now - before) * new_error)
            step = change / np.where(new_error == error, 1.0, new_error - error)
            before, error = now, new_error
            now = now - step
            now = np.where(now.real > 0, now, before / 2)
            if np.all(np.abs(step) <= _CLOSE * np.abs(now)):
                return np.asarray(now)
        return np.asarray(now)

    def _wait_transform(self, s: np.ndarray, number: int) -> np.ndarray:
        """Of the wait's tail of a class, times s."""
        z = self._stretched(s, number)
        everyone = self._deficit(z, len(self.classes)) * (self._busy / sum(self._shares))
        return np.asarray(everyone / (1 - self._up_to(number + 1) + self._deficit(z, number + 1)))

    def wait_tail(self, number: int, time_s: float) -> float:
        """Share of a class that waits longer than `time_s` seconds."""
        if not self.stable(number):
            return 1.0
        if time_s <= 0:
            return self._busy
        tail = invert(lambda s: self._wait_transform(s, number) / s, time_s)
        return min(max(tail, 0.0), self._busy)

    def sojourn_tail(self, number: int, time_s: float) -> float:
        """Share of a class that stays longer than `time_s` seconds."""
        if not self.stable(number) or time_s <= 0:
            return 1.0
        law = self.classes[number].service
        if isinstance(law, Constant):
            return 1.0 if time_s < law.mean_s else self.wait_tail(number, time_s - law.mean_s)

        def transform(s: np.ndarray) -> np.ndarray:
            wait, service = self._wait_transform(s, number), s * law.mean_s * (1 - law.residual_deficit(s))
            return np.asarray((wait + service - wait * service) / s)

        return min(max(invert(transform, time_s), 0.0), 1.0)

    def wait_percentile(self, number: int, level: float) -> float:
        """Time in seconds that a share `level` of a class waits at most; 0 within the atom."""
        exceeding = 1 - fraction("level", level)
        if not self.stable(number):
            return math.inf
        if self._busy <= exceeding:
            return 0.0

        def tail(time_s: float) -> float:
            return self.wait_tail(number, time_s)

        high = upper_bracket(tail, exceeding, self.mean_wait_s(number))
        return percentile_of(tail, exceeding, 0.0, high, relative=_WIDTH)

    def sojourn_percentile(self, number: int, level: float) -> float:
        """Time in seconds that a share `level` of a class stays at most."""
        exceeding = 1 - fraction("level", level)
        if not self.stable(number):
            return math.inf
        law = self.classes[number].service
        if isinstance(law, Constant):
            return law.mean_s + self.wait_percentile(number, level)

        def tail(time_s: float) -> float:
            return self.sojourn_tail(number, time_s)

        high = upper_bracket(tail, exceeding, self.mean_wait_s(number) + law.mean_s)
        return percentile_of(tail, exceeding, 0.0, high, relative=_WIDTH)

    def answer(self, number: int) -> Answer:
        """Means and percentiles of a class, the most urgent is 0; utilization is that of all together."""
        model = f"{'M/G/1' if self.servers == 1 else 'M/M/c'} priority, class {number + 1}"
        if not self.stable(number):
            return unstable(model, self._up_to(number + 1))
        each, wait = self.classes[number], self.mean_wait_s(number)
        return steady(
            model,
            method="exact",
            utilization=min(self.utilization, 1.0),
            wait_probability=self._busy,
            mean_in_system=each.arrival_rate_per_s * (wait + each.service.mean_s),
            mean_in_queue=each.arrival_rate_per_s * wait,
            mean_wait_s=wait,
            mean_sojourn_s=wait + each.service.mean_s,
            wait_percentile=lambda level: self.wait_percentile(number, level),
            sojourn_percentile=lambda level: self.sojourn_percentile(number, level),
        )
