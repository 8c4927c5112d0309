"""Customers served side by side at a speed that depends on how many there are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mfi_command import BadInput
from mm1_planner.inputs import fraction, positive
from mm1_planner.models.answer import Answer, steady, unstable
from mm1_planner.models.invert import percentile_of, upper_bracket
from mm1_planner.models.poisson import poisson_window

_NEGLIGIBLE = 1e-18
_MOST_STATES = 200_000


@dataclass(frozen=True, eq=False)
class Sharing:
    r"""Poisson arrivals, exponential work, each of n customers in service goes on at speed $s_n$; exact.

    The number in the system is a birth and death process with death rates $\mu_n=n s_n/w$. M/M/1-PS has
    $s_n=1/n$; a replica that batches continuously, with an iteration of $\alpha+\beta n$ seconds and w
    tokens on the mean, $s_n=1/(\alpha+\beta n)$ tokens per second and at most B sequences.

    Parameters
    ----------
    arrival_rate_per_s : float
        $\lambda$.
    work : float
        w, the mean of the exponential work of a customer, in the units of the speeds times seconds.
    speeds : sequence of float
        $s_1..s_B$: speed of each while n are served together.
    limited : bool
        Whether at most B are served together while the others wait, first come first served. Otherwise all
        are, and beyond B they share what B had: $\mu_n=\mu_B$.

    Raises
    ------
    BadInput
        If a number is out of range, or the load so near 1 that 200,000 states are not enough.

    Notes
    -----
    The sojourn of one customer is followed through the states until it leaves, by uniformisation: sums of
    positive terms, cost O(states times events in a p99.9). Relative error below 1e-9, held by tests against
    40-digit references. Kleinrock, Queueing Systems II, section 4.4; Coffman, Muntz, Trotter, Waiting time
    distributions for processor-sharing systems (1970).

    When this is wrong: the mean sojourn of M/G/1-PS does not depend on the law of the work, its percentiles
    do, and with a limit the mean does too.

    Examples
    --------
    >>> round(Sharing(0.8, 1.0, [1.0]).answer().mean_sojourn_s, 12)  # M/M/1-PS: 1 / (1 - 0.8)
    5.0
    """

    arrival_rate_per_s: float
    work: float
    speeds: tuple[float, ...] | list[float] | np.ndarray
    limited: bool = False

    def __post_init__(self) -> None:
        positive("arrival rate", self.arrival_rate_per_s)
        positive("work", self.work)
        if not 1 <= len(self.speeds) <= _MOST_STATES:
            raise BadInput(f"{len(self.speeds)} speeds; expected 1 to {_MOST_STATES}")
        for speed in (min(self.speeds), max(self.speeds)):
            positive("speed", speed)

    @property
    def _together(self) -> int:
        return len(self.speeds)

    @cached_property
    def _most_per_s(self) -> float:
        """Rate at which customers leave while there are more than the speeds tell."""
        return self._together * float(self.speeds[-1]) / self.work

    @property
    def utilization(self) -> float:
        """Load of the full server, also where it exceeds 1."""
        return self.arrival_rate_per_s / self._most_per_s

    @property
    def model(self) -> str:
        """Kendall's name."""
        return "M/M/n-sharing, limited" if self.limited else "M/M/n-sharing"

    @cached_property
    def _states(self) -> np.ndarray:
        """Probabilities of n = 0, 1, ... in the system, as far as they matter."""
        beyond = math.log(_NEGLIGIBLE) / math.log(self.utilization)
        if self._together + beyond > _MOST_STATES:
            raise BadInput(
                f"load is {self.utilization:.9g}; expected less, {_MOST_STATES} states are too few"
            )
        count = self._together + math.ceil(beyond)
        logs = np.concatenate([[0.0], np.cumsum(np.log(self.arrival_rate_per_s / self._deaths(count)))])
        weights = np.exp(logs - logs.max())
        return np.asarray(weights / weights.sum())

    def _deaths(self, count: int) -> np.ndarray:
        """Rates of leaving with 1..count in the system, per second."""
        served = np.minimum(np.arange(1, count + 1), self._together)
        return np.asarray(served * np.asarray(self.speeds, float)[served - 1] / self.work)

    @cached_property
    def wait_probability(self) -> float:
        """Share that waits for a place: 0 without a limit."""
        if self.utilization >= 1:
            return 1.0
        return float(self._states[self._together :].sum()) if self.limited else 0.0

    def wait_tail(self, time_s: float) -> float:
        """Share of customers that wait longer than `time_s` seconds for a place."""
        spare = self._most_per_s - self.arrival_rate_per_s
        return self.wait_probability * math.exp(-spare * time_s) if spare > 0 else 1.0

    def wait_percentile(self, level: float) -> float:
        """Time in seconds that a share `level` waits at most for a place; 0 within the atom."""
        exceeding = 1 - fraction("level", level)
        if self.utilization >= 1:
            return math.inf
        if self.wait_probability <= exceeding:
            return 0.0
        return math.log(self.wait_probability / exceeding) / (self._most_per_s - self.arrival_rate_per_s)

    @cached_property
    def _clock_per_s(self) -> float:
        return self.arrival_rate_per_s + float(self._deaths(self._together).max())

    @cached_property
    def _course(self) -> _Course:
        return _Course(self)

    def sojourn_tail(self, time_s: float) -> float:
        """Share of customers that stay longer than `time_s` seconds."""
        if self.utilization >= 1 or time_s <= 0:
            return 1.0
        first, events = poisson_window(self._clock_per_s * time_s)
        return float(events @ self._course.left(first + events.size)[first : first + events.size])

    def sojourn_percentile(self, level: float) -> float:
        """Time in seconds that a share `level` stays at most."""
        exceeding = 1 - fraction("level", level)
        if self.utilization >= 1:
            return math.inf
        high = upper_bracket(self.sojourn_tail, exceeding, self._mean_in_system / self.arrival_rate_per_s)
        return percentile_of(self.sojourn_tail, exceeding, 0.0, high)

    @cached_property
    def _mean_in_system(self) -> float:
        return float(np.arange(self._states.size) @ self._states)

    def answer(self) -> Answer:
        """Means and percentiles, or the unstable answer."""
        if self.utilization >= 1:
            return unstable(self.model, self.utilization)
        waiting = 0.0
        if self.limited:
            waiting = self.wait_probability * self.utilization / (1 - self.utilization)
        return steady(
            self.model,
            method="exact",
            utilization=self.utilization,
            wait_probability=self.wait_probability,
            mean_in_system=self._mean_in_system,
            mean_in_queue=waiting,
            mean_wait_s=waiting / self.arrival_rate_per_s,
            mean_sojourn_s=self._mean_in_system / self.arrival_rate_per_s,
            wait_percentile=self.wait_percentile,
            sojourn_percentile=self.sojourn_percentile,
        )


class _Course:
    """A customer on its way: the chance to be there still after each event of the uniformised clock."""

    def __init__(self, queue: Sharing) -> None:
        states, clock, limit = queue._states, queue._clock_per_s, queue._together
        count = states.size
        deaths, numbers = queue._deaths(count), np.arange(1, count + 1)
        pace = np.asarray(queue.speeds, float)[np.minimum(numbers, limit) - 1] / queue.work
        own = pace if queue.limited else np.minimum(pace, deaths / numbers)
        self._up, self._others = queue.arrival_rate_per_s / clock, (deaths - own) / clock
        self._stay = 1 - self._up - deaths / clock
        self._stay[-1] += self._up  # nobody arrives in the last state that is kept
        # In service with n in the system, and, with a limit, waiting with j arrived behind.
        self._served, self._waiting = np.zeros(count), np.zeros(count)
        arrivals = states[: limit if queue.limited else count]
        self._served[: arrivals.size] = arrivals
        self._waiting[0] = queue.wait_probability
        self._start = (queue._most_per_s - queue.arrival_rate_per_s) / clock
        self._limit = limit
        self._left = [float(self._served.sum() + self._waiting.sum())]

    def left(self, events: int) -> np.ndarray:
        """Chance to be there after 0, 1, ... events, at least so many, float64."""
        while len(self._left) < events:
            self._advance()
            self._left.append(float(self._served.sum() + self._waiting.sum()))
        return np.asarray(self._left)

    def _advance(self) -> None:
        served, waiting = self._served, self._waiting
        after = self._stay * served
        after[1:] += self._up * served[:-1]
        after[:-1] += self._others[1:] * served[1:]
        if waiting[0] > 0:
            # A place becomes free after an exponential time, whatever arrives behind.
            started = self._start * waiting
            after[self._limit - 1 :] += started[: after.size - self._limit + 1]
            later = (1 - self._start - self._up) * waiting
            later[1:] += self._up * waiting[:-1]
            self._waiting = later
        self._served = after
