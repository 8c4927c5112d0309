"""Tails of the form read · exp(M t) start with no negative entry off M's diagonal."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

_TERMS = 40
_FALLEN = 1e-9
"""Powers are kept until the tail has fallen to this."""


class Decay:
    """A decreasing tail f(t) = read · exp(M t) start, by powers of exp(M h): sums of positive terms only.

    Parameters
    ----------
    matrix : ndarray
        M, float64 (n, n), per second: no negative entry off the diagonal, eigenvalues left of 0.
    start, read : ndarray
        float64 (n,), not negative.

    Notes
    -----
    A step h of one over the largest rate by its series, then squares: cost O(n^3 log(t/h)) once, O(n^2) for
    each time or percentile.
    """

    def __init__(self, matrix: np.ndarray, start: np.ndarray, read: np.ndarray) -> None:
        self._matrix, self._start, self._read = matrix, start, read
        self._step_s = 1 / float(-np.diag(matrix).min())

    @cached_property
    def _powers(self) -> list[np.ndarray]:
        """exp(M h 2^j) for j = 0, 1, ..., until the tail is negligible."""
        powers = [self._series(np.eye(len(self._start)), self._step_s)]
        while float(self._read @ (powers[-1] @ self._start)) > _FALLEN:
            powers.append(powers[-1] @ powers[-1])
        return powers

    def at(self, time_s: float) -> float:
        """The tail at a time, seconds."""
        values = self._start
        steps, left = divmod(max(time_s, 0.0), self._step_s)
        whole, last = int(min(steps, 2.0**62)), self._powers[-1]
        for power in self._powers[:-1]:
            if whole & 1:
                values = power @ values
            whole >>= 1
        for _ in range(min(whole, 64)):  # by then it is far below the smallest double
            values = last @ values
        return float(self._read @ self._series(values, left))

    def when(self, exceeding: float) -> float:
        """The time at which the tail has fallen to `exceeding`, seconds; 0 where it starts below."""
        values, time_s = self._start, 0.0
        if float(self._read @ values) <= exceeding:
            return 0.0
        for place in range(len(self._powers) - 1, -1, -1):
            # The largest power may be needed more than once, the others at most once.
            while float(self._read @ (later := self._powers[place] @ values)) > exceeding:
                values, time_s = later, time_s + math.ldexp(self._step_s, place)
        low, high = 0.0, self._step_s
        while high - low > 2.0**-50 * (time_s + high):
            middle = (low + high) / 2
            if not low < middle < high:
                break
            beyond = float(self._read @ self._series(values, middle)) > exceeding
            low, high = (middle, high) if beyond else (low, middle)
        return time_s + high

    def _series(self, values: np.ndarray, time_s: float) -> np.ndarray:
        """exp(M t) values for t up to the step, by uniformisation: no term is negative."""
        rate = 1 / self._step_s
        jump = self._matrix * self._step_s + np.eye(len(self._matrix))
        term = math.exp(-rate * time_s) * values
        total = term
        for n in range(1, _TERMS):
            term = (rate * time_s / n) * (jump @ term)
            total = total + term
        return np.asarray(total)
