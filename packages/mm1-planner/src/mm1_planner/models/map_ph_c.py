"""MAP/PH/c: arrivals that depend on hidden phases, several servers, services of one or two phases."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mfi_command import BadInput
from mm1_planner.inputs import whole
from mm1_planner.models.phases import Matrices
from mm1_planner.models.qbd import first_passage, stationary, visits

_MOST_STATES = 1_000
_HUGE = 1e150


@dataclass(frozen=True, eq=False)
class MAPPHc:
    r"""MAP/PH/c with one or two service phases: who is there and who waits, exact by matrix-analytic methods.

    Levels are the customers in the system; within a level the phase is the arrivals' and, of the j busy
    servers, how many are in the first service phase. From level c on the process repeats itself, with
    $\pi_{c+n}=\pi_cR^n$; below, each level is eliminated from the top down, by matrices that hold
    first-passage probabilities, so that no term is negative.

    Parameters
    ----------
    arrivals : tuple of ndarray
        D0 and D1, float64 (m, m): generators without and with an arrival, per second.
    services : tuple of ndarray
        α (k,) and T (k, k), per second, k 1 or 2.
    servers : int
        c.

    Raises
    ------
    BadInput
        If there are more than two service phases, or more than 1,000 states of a level.

    Notes
    -----
    Cost O(c (m c^{k-1})^3) once. Neuts, Matrix-geometric Solutions in Stochastic Models (1981), chapter 6;
    Gaver, Jacobs and Latouche, Finite birth-and-death models in randomly changing environments (1984).
    """

    arrivals: Matrices
    services: Matrices
    servers: int

    def __post_init__(self) -> None:
        whole("servers", self.servers)
        size = len(self.services[0])
        if size > 2:
            raise BadInput(f"MAP/PH/c: {size} service phases; expected 1 or 2")
        states = len(self.arrivals[0]) * (self.servers * (size - 1) + 1)
        if states > _MOST_STATES:
            raise BadInput(f"MAP/PH/c: {states} states of a level; expected up to {_MOST_STATES}")

    @cached_property
    def arrival_rate_per_s(self) -> float:
        """Arrivals per second in the long run."""
        quiet, arriving = self.arrivals
        return float(stationary(quiet + arriving) @ arriving.sum(axis=1))

    @cached_property
    def mean_service_s(self) -> float:
        """Mean service, seconds."""
        start, steps = self.services
        return float(start @ np.linalg.solve(-steps, np.ones(len(start))))

    @property
    def utilization(self) -> float:
        """Load per server, also where it exceeds 1."""
        return self.arrival_rate_per_s * self.mean_service_s / self.servers

    def _busy(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of `count` busy servers: changes of phase, (s, s) without diagonal; ends, to one less; starts of
        one more. The state is how many are in the first phase."""
        (start, steps), size = self.services, len(self.services[0])
        leave = -steps.sum(axis=1)
        if size == 1:
            return np.zeros((1, 1)), np.array([[count * leave[0]]]), np.ones((1, 1))
        first = np.arange(count + 1.0)
        second = count - first
        change = np.diag(second[:-1] * steps[1, 0], 1) + np.diag(first[1:] * steps[0, 1], -1)
        end = np.zeros((count + 1, count))
        end[1:] += np.diag(first[1:] * leave[0])
        end[:-1] += np.diag(second[:-1] * leave[1])
        begin = np.zeros((count + 1, count + 2))
        begin[:, 1:] += start[0] * np.eye(count + 1)
        begin[:, :-1] += start[1] * np.eye(count + 1)
        return change, end, begin

    def _without_diagonal(self, change: np.ndarray) -> np.ndarray:
        """Rates within a level."""
        quiet = self.arrivals[0] - np.diag(np.diag(self.arrivals[0]))
        rates: np.ndarray = _beside(quiet, np.eye(len(change))) + _beside(np.eye(len(quiet)), change)
        return rates

    @cached_property
    def _full(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Up, local and down of a level at which customers wait."""
        change, end, _ = self._busy(self.servers)
        again = end @ self._busy(self.servers - 1)[2]
        up = _beside(self.arrivals[1], np.eye(len(change)))
        down = _beside(np.eye(len(self.arrivals[0])), again)
        inside = self._without_diagonal(change)
        return up, inside - np.diag((inside + up + down).sum(axis=1)), down

    @cached_property
    def _levels(self) -> tuple[list[np.ndarray], np.ndarray]:
        """Laws of levels 0 to c, and R."""
        up, local, down = self._full
        passage = first_passage(up, local, down)
        ratio = up @ visits(up, local, passage)
        # From the top: who rises from level c comes back by G, who rises from j < c by first passage.
        stays: list[np.ndarray] = []
        come_back = passage
        for count in range(self.servers, 0, -1):
            change, end, _ = self._busy(count)
            rise = up if count == self.servers else self._rise(count)
            end = _beside(np.eye(len(self.arrivals[0])), end)
            inside = self._without_diagonal(change) + rise @ come_back
            stays.append(np.linalg.inv(np.diag(inside.sum(axis=1) + end.sum(axis=1)) - inside))
            come_back = stays[-1] @ end
            come_back /= come_back.sum(axis=1, keepdims=True)
        laws = [stationary(self._without_diagonal(np.zeros((1, 1))) + self._rise(0) @ come_back)]
        for count, stay in enumerate(reversed(stays)):
            laws.append(laws[-1] @ self._rise(count) @ stay)
            if laws[-1].sum() > _HUGE:
                laws = [law / _HUGE for law in laws]
        total = sum(float(law.sum()) for law in laws[:-1])
        total += float(laws[-1] @ np.linalg.solve(np.eye(len(ratio)) - ratio, np.ones(len(ratio))))
        return [law / total for law in laws], ratio

    def _rise(self, count: int) -> np.ndarray:
        """Rates from `count` busy servers to one more."""
        return _beside(self.arrivals[1], self._busy(count)[2])

    @cached_property
    def found_full(self) -> np.ndarray:
        """Law of the state that a customer finds who finds c there and nobody waiting, float64 (m s,)."""
        return self._levels[0][-1]

    @property
    def ratio(self) -> np.ndarray:
        """R, float64 (m s, m s): the next level's law is the last one's times R."""
        return self._levels[1]

    @cached_property
    def seen(self) -> np.ndarray:
        """Weights that turn a level's law into the share of the arrivals that find it, float64 (m s,)."""
        each = self.arrivals[1].sum(axis=1) / self.arrival_rate_per_s
        return np.repeat(each, len(self.ratio) // len(each))

    @cached_property
    def wait_probability(self) -> float:
        """Share of the customers that wait at all."""
        if self.utilization >= 1:
            return 1.0
        return float(self.found_full @ np.linalg.solve(np.eye(len(self.ratio)) - self.ratio, self.seen))

    @cached_property
    def mean_wait_s(self) -> float:
        """Mean wait, seconds."""
        if self.utilization >= 1:
            return math.inf
        over = np.eye(len(self.ratio)) - self.ratio
        higher = np.linalg.solve(over, np.linalg.solve(over, np.ones(len(over))))
        return float(self.found_full @ self.ratio @ higher) / self.arrival_rate_per_s


def _beside(arrivals: np.ndarray, services: np.ndarray) -> np.ndarray:
    """Kronecker's product; that with a number is most of the work of thousands of exponential servers."""
    return np.asarray(arrivals * services[0, 0] if services.size == 1 else np.kron(arrivals, services))
