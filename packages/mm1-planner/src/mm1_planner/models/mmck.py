"""M/M/c/K: M/M/c with room for K customers; K = c is Erlang's loss system."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mm1_planner.inputs import fraction, positive, whole
from mm1_planner.models.answer import Answer, steady
from mm1_planner.models.invert import percentile_of, upper_bracket
from mm1_planner.models.poisson import poisson_window


@dataclass(frozen=True)
class MMcK:
    r"""M/M/c/K, exact; times are those of the customers let in, first come first served.

    State probabilities $p_n \propto \prod_{i\le n} a/\min(i,c)$ are built outwards from the largest one, so
    that every factor is at most 1: nothing overflows or cancels. The wait of a customer who finds
    $n \ge c$ is a sum of $n-c+1$ exponentials of rate $c\mu$, its service a geometric number of them; so
    both tails are Poisson mixtures (uniformisation), sums of positive terms.

    Parameters
    ----------
    arrival_rate_per_s, service_rate_per_s : float
        $\lambda$ (those turned away included) and $\mu$ of one server.
    servers, capacity : int
        c and $K \ge c$, each up to 1e6; K counts customers in service too.

    Raises
    ------
    BadInput
        If a rate is out of range, or K < c.

    Notes
    -----
    Stable at any load. Cost O(K) for the means, about as much again for each percentile. Relative error
    below 1e-9, held by tests against 40-digit references. Gross, Shortle, Thompson, Harris, Fundamentals of
    Queueing Theory, section 3.5.

    Examples
    --------
    >>> round(MMcK(1, 1, 1, 2).answer().blocking, 12)
    0.333333333333
    """

    arrival_rate_per_s: float
    service_rate_per_s: float
    servers: int
    capacity: int

    def __post_init__(self) -> None:
        positive("arrival rate", self.arrival_rate_per_s)
        positive("service rate", self.service_rate_per_s)
        whole("servers", self.servers)
        whole("capacity", self.capacity, least=self.servers)

    @cached_property
    def state_probabilities(self) -> np.ndarray:
        """Probability of n customers in the system, n = 0..K, float64 (K + 1,)."""
        load = self.arrival_rate_per_s / self.service_rate_per_s
        ratios = load / np.minimum(np.arange(1, self.capacity + 1), self.servers)
        mode = int(np.searchsorted(-ratios, -1.0, side="right"))
        with np.errstate(under="ignore"):
            above = np.cumprod(ratios[mode:])
            below = np.cumprod(1 / ratios[:mode][::-1])[::-1]
        weights = np.concatenate([below, [1.0], above])
        return np.asarray(weights / weights.sum())

    @property
    def blocking(self) -> float:
        """Share of the customers turned away."""
        return float(self.state_probabilities[-1])

    @property
    def utilization(self) -> float:
        """Busy share of each server."""
        busy = np.minimum(np.arange(self.capacity + 1), self.servers) @ self.state_probabilities
        return float(busy) / self.servers

    @cached_property
    def _ticks(self) -> np.ndarray:
        # Seen by a customer who is let in: the number of departures before its service starts.
        seen = self.state_probabilities[:-1] / self.state_probabilities[:-1].sum()
        return np.concatenate([[seen[: self.servers].sum()], seen[self.servers :]])

    def wait_tail(self, time_s: float) -> float:
        """Share of those let in that wait longer than `time_s` seconds."""
        return self._mixture(time_s, with_service=False)

    def sojourn_tail(self, time_s: float) -> float:
        """Share of those let in that stay longer than `time_s` seconds."""
        return self._mixture(time_s, with_service=True)

    def wait_percentile(self, level: float) -> float:
        """Time in seconds that a share `level` of those let in waits at most; 0 within the atom."""
        exceeding = 1 - fraction("level", level)
        if float(self._ticks[1:].sum()) <= exceeding:
            return 0.0
        high = upper_bracket(self.wait_tail, exceeding, 1 / (self.servers * self.service_rate_per_s))
        return percentile_of(self.wait_tail, exceeding, 0.0, high)

    def sojourn_percentile(self, level: float) -> float:
        """Time in seconds that a share `level` of those let in stays at most."""
        exceeding = 1 - fraction("level", level)
        high = upper_bracket(self.sojourn_tail, exceeding, 1 / self.service_rate_per_s)
        return percentile_of(self.sojourn_tail, exceeding, 0.0, high)

    def answer(self) -> Answer:
        """Means and percentiles."""
        states, numbers = self.state_probabilities, np.arange(self.capacity + 1)
        let_in = self.arrival_rate_per_s * float(states[:-1].sum())
        in_system = float(numbers @ states)
        in_queue = float(np.maximum(numbers - self.servers, 0) @ states)
        return steady(
            "M/M/c/c" if self.capacity == self.servers else "M/M/c/K",
            method="exact",
            utilization=self.utilization,
            wait_probability=float(self._ticks[1:].sum()),
            blocking=self.blocking,
            mean_in_system=in_system,
            mean_in_queue=in_queue,
            mean_wait_s=in_queue / let_in,
            mean_sojourn_s=in_system / let_in,
            wait_percentile=self.wait_percentile,
            sojourn_percentile=self.sojourn_percentile,
        )

    def _mixture(self, time_s: float, *, with_service: bool) -> float:
        """Sum over j of P(Poisson(c mu t) = j) P(ticks needed > j)."""
        first, probabilities = poisson_window(self.servers * self.service_rate_per_s * time_s)
        needed = self._needed(first + probabilities.size, with_service)
        return float(probabilities @ needed[first : first + probabilities.size])

    def _needed(self, size: int, with_service: bool) -> np.ndarray:
        """P(ticks needed > j) for j < some length >= `size`, kept for the next time asked."""
        length = 1 << max(8, (size - 1).bit_length())
        if (length, with_service) not in self._kept:
            tail = np.cumsum(self._ticks[::-1])[::-1][1:]
            needed = _padded(tail, length)
            if with_service:
                needed = needed + _decaying_sum(_padded(self._ticks, length), 1.0 - 1.0 / self.servers)
            self._kept[length, with_service] = needed
        return self._kept[length, with_service]

    @cached_property
    def _kept(self) -> dict[tuple[int, bool], np.ndarray]:
        return {}


def _padded(values: np.ndarray, length: int) -> np.ndarray:
    padded = np.zeros(length)
    padded[: min(length, values.size)] = values[:length]
    return padded


def _decaying_sum(values: np.ndarray, ratio: float) -> np.ndarray:
    """y[j] = ratio y[j - 1] + values[j], by doubling the reach of each sum."""
    reach = 1
    while reach < values.size and ratio > 0:
        values = values + ratio * np.concatenate([np.zeros(reach), values[:-reach]])
        reach, ratio = 2 * reach, ratio * ratio
    return values
