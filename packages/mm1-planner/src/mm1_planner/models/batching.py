"""Poisson arrivals to a server that takes all who wait, up to a limit, in one batch of a + b n seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mfi_command import BadInput
from mm1_planner.inputs import fraction, not_negative, positive, whole
from mm1_planner.models.answer import Answer, steady, unstable
from mm1_planner.models.invert import percentile_of, upper_bracket

_NEGLIGIBLE = 1e-16
_UNSEEN = 1e-13
"""Chance below which a number left behind does not show in a p99.9 of the sojourn."""
_MOST_STATES = 4_000
_MOST_TOGETHER = 64
"""Largest limit for which the size of one's own batch is followed exactly beyond the next batch."""
_BLOCK = 1 << 20
_WIDTH = 1e-12


@dataclass(frozen=True)
class Batching:
    r"""One server (a GPU) that serves n customers together in $a+bn$ seconds; who comes meanwhile waits.

    Left behind at the end of a batch are $L'=(L-B)^++A$, with A Poisson of mean
    $\lambda\tau_n$,
    $n=\min(\max(L,1),B)$, $\tau_n=a+bn$: a Markov chain, solved numerically. The arrivals during a
    batch are uniform over it, which gives the wait and, with the size of the customer's own batch, the
    sojourn.

    Parameters
    ----------
    arrival_rate_per_s : float
        $\lambda$.
    fixed_s, each_s : float
        a and b, seconds; b may be 0 with a limit.
    largest : int, optional
        B, at most 1,000; unlimited by default.

    Raises
    ------
    BadInput
        If a number is out of range, or the load so high that more than 4,000 queue lengths matter.

    Notes
    -----
    Wait exact. Sojourn exact without a limit and for limits up to 64; above, a customer who misses the next
    batch is taken to leave in a full one, which is never too early. Relative error of the exact ones below
    1e-9, held by tests against 40-digit references. Cost O(n^3) once for n queue lengths. Inoue, Queueing
    analysis of GPU-based inference servers with dynamic batching (2021), treats the case without a limit.

    Examples
    --------
    >>> round(Batching(0.5, 1.0, 0.0, largest=1).answer().mean_wait_s, 12)  # M/D/1
    0.5
    """

    arrival_rate_per_s: float
    fixed_s: float
    each_s: float
    largest: int | None = None

    def __post_init__(self) -> None:
        positive("arrival rate", self.arrival_rate_per_s)
        not_negative("fixed time of a batch", self.fixed_s)
        not_negative("time of each in a batch", self.each_s)
        positive("time of a batch of one", self.fixed_s + self.each_s)
        if self.largest is not None:
            whole("largest batch", self.largest, largest=1000)

    @property
    def utilization(self) -> float:
        r"""Load of the largest batches, $\lambda\tau_B/B$, or $\lambda b$ without a limit; also above 1."""
        each = self.each_s if self.largest is None else self._time_s(self.largest) / self.largest
        return self.arrival_rate_per_s * each

    def _time_s(self, size: float) -> float:
        return self.fixed_s + self.each_s * size

    @property
    def model(self) -> str:
        """Kendall's name."""
        return "M/D[n]/1 batches" if self.largest is None else f"M/D[n]/1 batches of at most {self.largest}"

    @cached_property
    def _count(self) -> int:
        """Queue lengths that are kept."""
        spare = 1 - self.utilization
        if self.largest is None:
            typical = self.arrival_rate_per_s * self._time_s(1) / spare
            wanted = typical + 12 * math.sqrt(typical / spare) + 60
        else:
            # Left behind fade like e^(-2 (1 - load) n) where the load is high.
            wanted = 3 * self.largest + 20 / spare + 12 * math.sqrt(self.largest) + 60
        if wanted > _MOST_STATES:
            raise BadInput(
                f"load is {self.utilization:.6g}: more than {_MOST_STATES} queue lengths matter; simulate it"
            )
        return math.ceil(wanted)

    @cached_property
    def _batch(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Size and seconds of the next batch, and who stays behind, for each number left by the last."""
        left = np.arange(self._count)
        size = np.maximum(left, 1)
        if self.largest is not None:
            size = np.minimum(size, self.largest)
        return size, self.fixed_s + self.each_s * size, np.maximum(left - size, 0)

    @cached_property
    def _left(self) -> np.ndarray:
        """Probabilities of 0, 1, ... customers left at the end of a batch."""
        _, times, behind = self._batch
        count = self._count
        moves = np.zeros((count, count))
        for number in range(count):
            start = int(behind[number])
            mean = self.arrival_rate_per_s * float(times[number])
            moves[number, start:] = _poisson(mean, np.arange(count - start))
            moves[number, -1] += max(0.0, 1 - float(moves[number].sum()))
        balance = moves.T - np.eye(count)
        balance[-1] = 1.0
        law = np.linalg.solve(balance, np.eye(count)[-1])
        return np.asarray(np.where(law > _NEGLIGIBLE, law, 0.0))

    @cached_property
    def _customers(self) -> float:
        """Mean customers that arrive from the end of one batch to the end of the next."""
        return float(self._left @ (self.arrival_rate_per_s * self._batch[1])) + float(self._left[0])

    @cached_property
    def wait_probability(self) -> float:
        """Share of customers that do not find the server idle."""
        return 1 - float(self._left[0]) / self._customers if self.utilization < 1 else 1.0

    @cached_property
    def _means(self) -> tuple[float, float, float]:
        """Mean wait and mean own batch, seconds, and the busy share of the server."""
        size, times, behind = self._batch
        cycle = float(self._left @ times) + float(self._left[0]) / self.arrival_rate_per_s
        waiting = float(self._left @ (behind * times + self.arrival_rate_per_s * times**2 / 2)) / cycle
        own = float(self._left @ (size * times)) / float(self._left @ size)
        return waiting / self.arrival_rate_per_s, own, float(self._left @ times) / cycle

    def wait_tail(self, time_s: float) -> float:
        """Share of customers that wait longer than `time_s` seconds."""
        if self.utilization >= 1:
            return 1.0
        _, times, behind = self._batch
        rate, law = self.arrival_rate_per_s, self._left
        if self.largest is None:
            return float(law @ np.maximum(times - time_s, 0.0)) * rate / self._customers
        full = self._time_s(self.largest)
        # Who comes u after the start waits times - u + k full: longer than t if k is at least `fewest`.
        total = rate * np.maximum(times - time_s, 0.0)
        late = np.minimum(np.maximum(time_s - times, 0.0), time_s)
        first = np.floor(late / full)
        for step in (0, 1):
            fewest = first + step + 1
            # u where t - times + u lies in [first + step, first + step + 1) full.
            low = np.clip((first + step) * full + times - time_s, np.maximum(times - time_s, 0.0), times)
            high = np.clip((first + step + 1) * full + times - time_s, low, times)
            needed = fewest * self.largest - behind
            total += _arrived(rate, high, needed) - _arrived(rate, low, needed)
        return float(law @ total) / self._customers

    def sojourn_tail(self, time_s: float) -> float:
        """Share of customers that stay longer than `time_s` seconds."""
        if self.utilization >= 1:
            return 1.0
        alone = float(self._left[0]) * (time_s < self._time_s(1))
        kept = np.flatnonzero(self._left > _UNSEEN)
        weight, now, stay = self._left[kept], self._batch[1][kept], self._batch[2][kept]
        if self.largest is None:
            found = self._in_next(weight, now, time_s)
        else:
            last = int(stay.max() + self._most_arrivals) // self.largest
            found = sum(self._in_later(place, weight, now, stay, time_s) for place in range(last + 1))
        return (alone + found) / self._customers

    @cached_property
    def _most_arrivals(self) -> int:
        mean = self.arrival_rate_per_s * float(self._batch[1].max())
        return int(mean + 12 * math.sqrt(mean) + 30)

    def _in_next(self, weight: np.ndarray, now: np.ndarray, time_s: float) -> float:
        """Expected customers of one batch to the next that stay longer, all leaving with the next batch."""
        numbers = np.arange(self._most_arrivals)
        law = _poisson(self.arrival_rate_per_s * now[:, None], numbers)
        own = self.fixed_s + self.each_s * numbers
        reach = np.clip((now[:, None] + own - time_s) / now[:, None], 0.0, 1.0)
        return float(weight @ (law * reach) @ numbers)

    def _in_later(
        self, place: int, weight: np.ndarray, now: np.ndarray, stay: np.ndarray, time_s: float
    ) -> float:
        """The same for those who leave with the batch number `place` after the present one.

        First all are counted as if that batch were full, when arrivals in a part of the present one are
        Poisson again; then those in one that is not full are taken out, and put back with its size.
        """
        size = self.largest or 1
        full = self._time_s(size)
        low, high = np.maximum(place * size - stay, 0), (place + 1) * size - stay
        chosen = (high > 0) & (low < self._most_arrivals)
        weight, now, stay, low, high = (each[chosen] for each in (weight, now, stay, low, high))
        sizes = np.arange(1, size + 1)
        reach = (now[:, None] + place * full + self.fixed_s + self.each_s * sizes - time_s) / now[:, None]
        shares = np.clip(reach, 0.0, 1.0)
        mean = self.arrival_rate_per_s * now
        seen = mean * shares[:, -1]
        total = float(weight @ (_capped_poisson(seen, high) - _capped_poisson(seen, low)))
        chance = self._own_size(place)
        first = low == 0
        numbers = np.arange(1, size)
        if first.any():
            found = numbers + (stay[first] - place * size)[:, None]
            law = _poisson(mean[first, None], numbers) * (numbers < high[first, None])
            mixed = np.take_along_axis(shares[first] @ chance.T, np.clip(found, 1, size) - 1, axis=1)
            total += float(weight[first] @ (law * (mixed - shares[first, -1:])) @ numbers)
        later = np.flatnonzero(~first)
        if size > _MOST_TOGETHER or size == 1:
            return total
        for rows in np.array_split(later, max(1, later.size * size * size // _BLOCK)):
            law = _poisson(mean[rows, None], low[rows, None] + numbers)
            counts = _binomial_beyond(shares[rows], low[rows], size - 1)
            mixed = (counts * chance[None, :-1]).sum(axis=2) - counts[:, :, -1]
            total += float(weight[rows] @ (law * mixed).sum(axis=1))
        return total

    def _own_size(self, place: int) -> np.ndarray:
        """Law of the size (columns) of the batch number `place` of which so many (rows) are there now."""
        sizes = np.arange(1, (self.largest or 1) + 1)
        if place == 0:
            return np.eye(sizes.size)
        later = _poisson(self.arrival_rate_per_s * place * self._time_s(sizes.size), np.arange(sizes.size))
        more = sizes - sizes[:, None]
        chance = np.where(more >= 0, later[np.maximum(more, 0)], 0.0)
        chance[:, -1] += np.maximum(1 - chance.sum(axis=1), 0.0)
        return np.asarray(chance)

    def wait_percentile(self, level: float) -> float:
        """Time in seconds that a share `level` waits at most; 0 within the atom."""
        exceeding = 1 - fraction("level", level)
        if self.utilization >= 1:
            return math.inf
        high = upper_bracket(self.wait_tail, exceeding, self._time_s(1))
        return percentile_of(self.wait_tail, exceeding, 0.0, high, relative=_WIDTH)

    def sojourn_percentile(self, level: float) -> float:
        """Time in seconds that a share `level` stays at most."""
        exceeding = 1 - fraction("level", level)
        if self.utilization >= 1:
            return math.inf
        high = upper_bracket(self.sojourn_tail, exceeding, self._time_s(1))
        # Nobody leaves before a batch of one is done.
        return percentile_of(
            self.sojourn_tail, exceeding, self._time_s(1) * (1 - _WIDTH), high, relative=_WIDTH
        )

    def answer(self) -> Answer:
        """Means and percentiles, or the unstable answer; utilization is the busy share of the server."""
        if self.utilization >= 1:
            return unstable(self.model, self.utilization)
        wait, own, busy = self._means
        exact = self.largest is None or self.largest <= _MOST_TOGETHER
        return steady(
            self.model,
            method="exact" if exact else "exact, percentiles of the sojourn from above",
            utilization=busy,
            wait_probability=self.wait_probability,
            mean_in_system=self.arrival_rate_per_s * (wait + own),
            mean_in_queue=self.arrival_rate_per_s * wait,
            mean_wait_s=wait,
            mean_sojourn_s=wait + own,
            wait_percentile=self.wait_percentile,
            sojourn_percentile=self.sojourn_percentile,
        )


def _poisson(mean: np.ndarray | float, numbers: np.ndarray) -> np.ndarray:
    """Probabilities of the numbers."""
    from scipy.special import gammaln

    return np.asarray(np.exp(numbers * np.log(mean) - mean - gammaln(numbers + 1)))


def _at_least(mean: np.ndarray, number: np.ndarray) -> np.ndarray:
    """P(Poisson(mean) >= number)."""
    from scipy.special import gammainc

    return np.asarray(np.where(number <= 0, 1.0, gammainc(np.maximum(number, 1), mean)))


def _arrived(rate: float, until_s: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Expected arrivals up to a time that come when at least `number` others have: counts beyond it."""
    mean = rate * until_s
    above = mean * _at_least(mean, number) - number * _at_least(mean, number + 1)
    return np.asarray(np.where(number <= 0, mean, above))


def _capped_poisson(mean: np.ndarray, cap: np.ndarray) -> np.ndarray:
    """E[min(Poisson(mean), cap)]."""
    return np.asarray(np.where(cap > 0, mean - _arrived(1.0, mean, cap), 0.0))


def _binomial_beyond(shares: np.ndarray, low: np.ndarray, most: int) -> np.ndarray:
    """E[(Binomial(low + d, x) - low)^+] for d = 1..most: (rows, most, x) of shares (rows, x), low (rows,).

    It grows with d by x times the chance of at least `low`, a sum of negative binomial terms.
    """
    from scipy.special import gammaln

    d = np.arange(most)
    choose = gammaln(low[:, None] + d) - gammaln(low[:, None]) - gammaln(d + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.where(d[:, None] == 0, 0.0, d[:, None] * np.log1p(-shares)[:, None, :])
        terms = np.exp(choose[:, :, None] + low[:, None, None] * np.log(shares)[:, None, :] + left)
    return np.asarray(shares[:, None, :] * np.cumsum(np.cumsum(terms, axis=1), axis=1))
