"""M/D/c: every service takes the same time, c servers and one queue."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mfi_command import BadInput
from mm1_planner.inputs import fraction, positive, whole
from mm1_planner.models.answer import Answer, steady, unstable
from mm1_planner.models.erlang import slack_per_s
from mm1_planner.models.invert import percentile_of, upper_bracket
from mm1_planner.models.poisson import poisson_window

_LONGEST = 1 << 24
"""Most queue lengths that are tabulated; a load that needs more is refused."""


@dataclass(frozen=True)
class MDc:
    r"""M/D/c, exact, first come first served.

    Over one service time D the queue length moves as $Q \to \max(Q + A - c, 0)$ with $A$ Poisson of mean
    $\lambda D$, so in equilibrium it is the largest value of a random walk, whose law Spitzer gives:

    $$ E z^Q = \exp\sum_{k>0} a_k (z^k-1),\qquad a_k = \sum_n \tfrac1n P(S_n = k)
    = [z^k]\,\bigl(-\log(1-z^{-c}e^{\lambda D(z-1)})\bigr) $$

    The coefficients come from one FFT on the circle of radius $1/\rho$, where that power is smallest, so
    the tail keeps its relative accuracy. With $Q_j = P(Q \le j)$ and $(k-1)D \le t < kD$,

    $$ P(W_q \le t) = \sum_{j<kc} Q_{kc-1-j}\, e^{-u}\frac{u^j}{j!},\quad u=\lambda(kD-t). $$

    Parameters
    ----------
    arrival_rate_per_s : float
        $\lambda$.
    service_s : float
        D, seconds.
    servers : int
        c, up to 1e6.

    Raises
    ------
    BadInput
        If a number is out of range, or the load so close to 1 that 1.6e7 queue lengths are not enough.

    Notes
    -----
    Cost O(n log n) once, n a few times the longest queue that matters. Relative error below 1e-9, held by
    tests against 40-digit references. Franx, A simple solution for the M/D/c waiting time distribution
    (2001); Spitzer (1956).

    Examples
    --------
    >>> round(MDc(0.5, 1.0, 1).answer().mean_wait_s, 12)
    0.5
    """

    arrival_rate_per_s: float
    service_s: float
    servers: int = 1

    def __post_init__(self) -> None:
        positive("arrival rate", self.arrival_rate_per_s)
        positive("service time", self.service_s)
        whole("servers", self.servers)

    @property
    def utilization(self) -> float:
        r"""$\rho=\lambda D/c$, also where it exceeds 1."""
        return self.arrival_rate_per_s * self.service_s / self.servers

    @property
    def _stable(self) -> bool:
        return slack_per_s(self.arrival_rate_per_s, 1 / self.service_s, self.servers) > 0

    @cached_property
    def _queue(self) -> np.ndarray:
        """Probability of m customers waiting, float64, up to where it is far below 1e-18."""
        load, servers = self.utilization, self.servers
        length = _table_length(load, servers)
        angle = 2 * math.pi * np.fft.rfftfreq(length)
        # z^-c e^(c load (z - 1)) at z = e^(i angle) / load; the first term is its largest logarithm, below 0.
        largest = servers * (math.log(load) + 1 - load)
        power = np.exp(
            largest - 2 * servers * np.sin(angle / 2) ** 2 + 1j * servers * (np.sin(angle) - angle)
        )
        scaled = np.fft.irfft(np.conj(-np.log1p(-power)), length)
        scaled[0] = 0.0
        scaled[length // 2 :] = 0.0  # the powers below 0, which the circle brings back there
        law = np.fft.irfft(np.exp(np.fft.rfft(scaled)), length)[: length // 2]
        with np.errstate(under="ignore"):
            law = np.maximum(law, 0.0) * np.exp(np.arange(law.size) * math.log(load))
        return np.asarray(law / law.sum())

    @cached_property
    def _longer(self) -> np.ndarray:
        """Probability of more than m customers waiting."""
        return np.concatenate([np.cumsum(self._queue[::-1])[::-1][1:], [0.0]])

    @cached_property
    def wait_probability(self) -> float:
        """Share of customers that wait at all."""
        return self.wait_tail(0.0)

    def wait_tail(self, time_s: float) -> float:
        """Share of customers that wait longer than `time_s` seconds."""
        if not self._stable:
            return 1.0
        periods = math.floor(time_s / self.service_s) + 1
        mean = max(0.0, self.arrival_rate_per_s * (periods * self.service_s - time_s))
        first, arrivals = poisson_window(mean)
        longest = periods * self.servers - 1 - (first + np.arange(arrivals.size))
        # More arrivals than the servers take in so many periods: the wait is longer for certain.
        longer = np.where(longest < 0, 1.0, 0.0)
        known = (longest >= 0) & (longest < self._longer.size)
        longer[known] = self._longer[longest[known]]
        return float(arrivals @ longer)

    def sojourn_tail(self, time_s: float) -> float:
        """Share of customers that stay longer than `time_s` seconds."""
        return 1.0 if time_s < self.service_s else self.wait_tail(time_s - self.service_s)

    def wait_percentile(self, level: float) -> float:
        """Time in seconds that a share `level` of the customers waits at most; 0 within the atom."""
        exceeding = 1 - fraction("level", level)
        if not self._stable:
            return math.inf
        high = upper_bracket(self.wait_tail, exceeding, self.service_s / self.servers)
        return percentile_of(self.wait_tail, exceeding, 0.0, high)

    def sojourn_percentile(self, level: float) -> float:
        """Time in seconds that a share `level` of the customers stays at most."""
        return self.service_s + self.wait_percentile(level)

    def answer(self) -> Answer:
        """Means and percentiles, or the unstable answer."""
        model = "M/D/1" if self.servers == 1 else "M/D/c"
        if not self._stable:
            return unstable(model, self.utilization)
        in_queue = float(np.arange(self._queue.size) @ self._queue)
        wait = in_queue / self.arrival_rate_per_s
        return steady(
            model,
            method="exact",
            utilization=self.utilization,
            wait_probability=self.wait_probability,
            mean_in_system=in_queue + self.arrival_rate_per_s * self.service_s,
            mean_in_queue=in_queue,
            mean_wait_s=wait,
            mean_sojourn_s=wait + self.service_s,
            wait_percentile=self.wait_percentile,
            sojourn_percentile=self.sojourn_percentile,
        )


def _table_length(load: float, servers: int) -> int:
    """Queue lengths to tabulate, a power of two: what is beyond fades like load^n on either side."""
    needed = 2 * (45 / -math.log(load) + 12 * math.sqrt(servers) + 64) if load < 1 else math.inf
    if needed > _LONGEST:
        raise BadInput(f"load is {load:.9g}; expected at most 1 - 6e-6 per server for constant service times")
    return 1 << math.ceil(math.log2(needed))
