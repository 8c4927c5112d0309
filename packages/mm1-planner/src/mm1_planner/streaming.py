"""A run as long as its precision needs, in memory that does not grow with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mm1_planner.intervals import Estimate, ratio, shares_to_percentile
from mm1_planner.models.answer import LEVELS, METRICS

if TYPE_CHECKING:
    from mm1_planner.engine.tally import Histogram

PRECISION = 0.01
"""Relative half width of a mean's 95 % interval at which a run may end; five times as much for a p99."""

_BATCHES = 40
_BLOCK = 1 << 15
_PILOT = 4.0
"""How much less precise the pilot is: it takes about a sixteenth of the run."""
_MARGIN = 1.4
"""Of the run's length over the pilot's guess, whose spread is uncertain by a tenth or two."""
_NEGLIGIBLE = 0.1
"""Of the precision asked of a sojourn: what that much of it cannot change of a wait need not be known."""

Draws = Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray | None]]
"""Gaps, services and patience of the next customers, float64 seconds (n,)."""


class Queue(Protocol):
    """A queue that serves blocks of customers."""

    def serve(
        self, gaps_s: np.ndarray, services_s: np.ndarray, patience_s: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Waits and sojourns of the next customers, NaN for those that left."""

    def rewind(self) -> None:
        """Set the clock to zero at this moment."""


@dataclass
class Record:
    """What a stream of customers has shown so far, by batches of equal numbers of arrivals.

    Attributes
    ----------
    size : int
        Arrivals of a batch; it doubles when the batches are full.
    full : int
        Batches that are complete.
    """

    unit_s: float
    size: int
    full: int = 0
    _arrivals: int = 0
    waits: Histogram = field(init=False)
    sojourns: Histogram = field(init=False)
    spans: np.ndarray = field(init=False)
    in_vain: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        from mm1_planner.engine.tally import Histogram

        self.waits, self.sojourns = Histogram(self.unit_s, _BATCHES), Histogram(self.unit_s, _BATCHES)
        self.spans, self.in_vain = np.zeros(_BATCHES), np.zeros(_BATCHES)

    @property
    def room(self) -> int:
        """Arrivals that complete the current batch."""
        return self.size - self._arrivals

    def add(
        self, waits: np.ndarray, sojourns: np.ndarray, gaps: np.ndarray, patience: np.ndarray | None
    ) -> None:
        """Count at most `room` customers."""
        self.waits.add(self.full, waits)
        self.sojourns.add(self.full, sojourns)
        self.spans[self.full] += gaps.sum()
        if patience is not None:
            self.in_vain[self.full] += patience[np.isnan(waits)].sum()
        self._arrivals += waits.size
        if self._arrivals == self.size:
            self.full, self._arrivals = self.full + 1, 0

    def merge(self) -> None:
        """Join the batches two by two."""
        half = _BATCHES // 2
        self.waits.merge()
        self.sojourns.merge()
        for values in (self.spans, self.in_vain):
            values[:half] = values[0::2] + values[1::2]
            values[half:] = 0
        self.full, self.size = half, 2 * self.size

    @property
    def customers(self) -> int:
        """Arrivals counted."""
        return self.full * self.size

    @property
    def blocking(self) -> float:
        """Share of the arrivals that were not served."""
        return 1 - int(self.waits.counts[: self.full].sum()) / self.customers

    def estimates(self, cluster: float) -> dict[str, Estimate]:
        """Every metric with its interval; `cluster` as for `intervals.percentiles`."""
        found: dict[str, Estimate] = {}
        spans, wasted = self.spans[: self.full], self.in_vain[: self.full]
        for name, population, times in (
            ("wait", "in_queue", self.waits),
            ("sojourn", "in_system", self.sojourns),
        ):
            sums = times.sums[: self.full]
            served = times.counts[: self.full].sum(axis=1).astype(float)
            found[f"mean_{name}_s"] = ratio(sums, served)
            found[f"mean_{population}"] = ratio(sums + wasted, spans)
            beyond = partial(times.shares_beyond, batches=self.full)
            for label, level in LEVELS.items():
                found[f"{label}_{name}_s"] = shares_to_percentile(
                    times.quantiles, beyond, level, customers=int(served.sum()), cluster=cluster
                )
        return {name: found[name] for name in METRICS}


def stream_queue(
    queue: Queue,
    draws: Draws,
    *,
    unit_s: float,
    relaxation: float,
    most: int,
    exactly: int | None = None,
    precision: float = PRECISION,
) -> tuple[Record, int, bool]:
    """Serve as many customers as the precision needs, or `most` of them; or exactly so many.

    Two stages, as Stein's: a pilot, four times less precise, says how long the run has to be, and is left
    out of it. A run that ends where its own spread is small promises too much; this one's length
    does not depend on what it measures, except that it is doubled where it still falls short.

    Parameters
    ----------
    queue : Queue
        Empty at first.
    draws : callable
        The customers.
    unit_s : float
        A typical time.
    relaxation : float
        Customers after which the queue has forgotten its state: a batch is at least ten times as long, and
        the first ten times of it are the warm-up.
    most, exactly : int
        The longest run; a run without the rule.
    precision : float
        Relative half width of the means' 95 % intervals; five times as much for a p99.

    Returns
    -------
    record : Record
    warmup : int
        Customers left out: before the queue is stationary, and the pilot.
    reached : bool
        Whether the precision was reached.

    Notes
    -----
    Stein, A two-sample test for a linear hypothesis whose power is independent of the variance (1945).
    """
    shortest = math.ceil(max(2_000.0, 10 * relaxation)) if math.isfinite(relaxation) else most
    cluster = relaxation if math.isfinite(relaxation) else 0.0
    if exactly is not None:
        record = Record(unit_s, exactly // (_BATCHES + 1))
        warmup = exactly - _BATCHES * record.size
        _serve(queue, draws, warmup, None)
        while record.full < _BATCHES:
            _serve(queue, draws, record.room, record)
        return record, warmup, record.size >= shortest and precise(record.estimates(cluster), precision)
    size = min(shortest, most // (_BATCHES + 1))
    _serve(queue, draws, size, None)
    pilot, reached = _lengthened(queue, draws, Record(unit_s, size), cluster, _PILOT * precision, most - size)
    served = size + pilot.customers
    left = most - served
    if not reached or pilot.size < shortest or left < pilot.customers:
        return pilot, size, False
    needed = _MARGIN * shortfall(pilot.estimates(cluster), precision) ** 2 * pilot.customers
    each = math.ceil(min(max(needed, _BATCHES * shortest), left) / _BATCHES)
    record, reached = _lengthened(queue, draws, Record(unit_s, each), cluster, precision, left)
    return record, served, reached


def _lengthened(
    queue: Queue, draws: Draws, record: Record, cluster: float, precision: float, most: int
) -> tuple[Record, bool]:
    """The record filled and, as often as it is not precise and `most` leaves room, made twice as long."""
    while True:
        while record.full < _BATCHES:
            _serve(queue, draws, record.room, record)
        reached = shortfall(record.estimates(cluster), precision) <= 1
        if reached or 2 * record.customers > most:
            return record, reached
        record.merge()


def shortfall(found: dict[str, Estimate], precision: float) -> float:
    """How many times too wide the widest interval is: up to 1 where all is known, infinite where one is not.

    Of the means of wait and sojourn the half width is held against the precision, of their p99 against five
    times that. A wait that hardly adds to the sojourn is known well enough when it is known to a tenth of it.
    """
    widest = 0.0
    for name, wanted in (("mean", precision), ("p99", 5 * precision)):
        for what in ("wait", "sojourn"):
            estimate, stay = found[f"{name}_{what}_s"], found[f"{name}_sojourn_s"]
            low, high = estimate.interval()
            allowed = wanted * max(estimate.value, _NEGLIGIBLE * stay.value)
            if not (math.isfinite(high - low) and allowed > 0):
                return math.inf
            widest = max(widest, (high - low) / 2 / allowed)
    return widest


def precise(found: dict[str, Estimate], precision: float = PRECISION) -> bool:
    """Whether every interval is narrow enough, as `shortfall` says."""
    return shortfall(found, precision) <= 1


def _serve(queue: Queue, draws: Draws, count: int, record: Record | None) -> None:
    while count > 0:
        block = min(count, _BLOCK)
        gaps, services, patience = draws(block)
        waits, sojourns = queue.serve(gaps, services, patience)
        queue.rewind()
        if record is not None:
            record.add(waits, sojourns, gaps, patience)
        count -= block
