"""Counts of times by size, in constant memory: what a run without end keeps of its customers."""

from __future__ import annotations

import numpy as np

from mm1_planner.engine.fast import compiled

_OCTAVE = 128  # bins in each power of two
_SHIFT = 52 - 7  # of the bits of a double, so that what is left counts those bins
_LOWEST, _OCTAVES = -30, 64
BINS = _OCTAVES * _OCTAVE + 1
"""One for zero and below the smallest time kept apart, and 128 for each power of two above it."""


class Histogram:
    """Counts of each batch by size, and the smallest and largest time of each bin over the run.

    The bins are 0.8 % wide and their ends are times that occurred, so an atom keeps its exact value; between
    the ends a bin is taken as uniform, which blurs an atom by up to 0.8 % where other times
    fall into its bin.

    Parameters
    ----------
    unit_s : float
        A typical time, seconds: bins go from 2^-30 to 2^34 of it.
    batches : int
        Batches kept.
    """

    def __init__(self, unit_s: float, batches: int) -> None:
        smallest = np.array([unit_s * 2.0**_LOWEST])
        self._offset = int(smallest.view(np.int64)[0] >> _SHIFT) - 1
        self.counts = np.zeros((batches, BINS), dtype=np.int64)
        self.sums = np.zeros(batches)
        self._low, self._high = np.full(BINS, np.inf), np.full(BINS, -np.inf)

    def add(self, batch: int, times_s: np.ndarray) -> None:
        """Count times, float64 seconds (n,), in a batch; NaN is left out."""
        self.sums[batch] += _count(times_s, self._offset, self.counts[batch], self._low, self._high)

    def merge(self) -> None:
        """Join the batches two by two; the second half becomes empty."""
        half = len(self.counts) // 2
        for values in (self.counts, self.sums):
            values[:half] = values[0 : 2 * half : 2] + values[1 : 2 * half : 2]
            values[half:] = 0

    def quantiles(self, levels: np.ndarray) -> np.ndarray:
        """Smallest times not exceeded by a share `levels`, seconds, over all batches."""
        total = self.counts.sum(axis=0)
        ends = np.cumsum(total)
        rank = np.maximum(np.ceil(levels * ends[-1] - 1e-9), 1)
        bins = np.searchsorted(ends, rank)
        within = (rank - (ends[bins] - total[bins]) - 1) / np.maximum(total[bins] - 1, 1)
        return np.asarray(self._low[bins] + within * (self._high[bins] - self._low[bins]))

    def shares_beyond(self, time_s: float, batches: int) -> np.ndarray:
        """Share of each of the first batches that lies beyond a time."""
        counts = self.counts[:batches]
        place = _bin(np.array([time_s]), self._offset)
        low, high = self._low[place], self._high[place]
        part = min(max((high - time_s) / (high - low), 0.0), 1.0) if high > low else float(low > time_s)
        beyond = counts[:, place + 1 :].sum(axis=1) + part * counts[:, place]
        return np.asarray(beyond / np.maximum(counts.sum(axis=1), 1))


@compiled
def _count(times: np.ndarray, offset: int, counts: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    bits, total, last = times.view(np.int64), 0.0, counts.size - 1
    for i in range(times.size):
        time = times[i]
        if not time >= 0.0:
            continue
        # Positive doubles are ordered as their bits are: the leading ones number the bins.
        place = min(max((bits[i] >> 45) - offset, 0), last)
        counts[place] += 1
        total += time
        low[place] = min(low[place], time)
        high[place] = max(high[place], time)
    return total


def _bin(time_s: np.ndarray, offset: int) -> int:
    return int(np.clip((time_s.view(np.int64)[0] >> _SHIFT) - offset, 0, BINS - 1))
