"""Rows in compiled loops; what is not an ordinary row is left to numpy.

Every function takes rows `(m, n)`, n >= 1, of float32 numbers or of 16-bit codes, room for results of the
same dtype and shape (`(m,)` for logsumexp), and `left` `(m,)`, where it marks the rows that it has not
computed: with NaN, an infinity, or a case of its own. `kind` names the format (see `formats`).
"""

# mypy: disable-error-code="untyped-decorator, no-untyped-call, no-untyped-def"

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from stable_ops.compiled.bits import loop
from stable_ops.compiled.formats import rounded, spare_numbers, stored, target, widened
from stable_ops.compiled.loops import (
    ROUGH,
    largest,
    log_of_sum,
    moments,
    rough_sum_of_weights,
    smallest,
    sum_of_weights,
    weights,
)


@loop
def softmax(x: Any, out: Any, left: Any, kind: Any) -> None:
    """Probabilities."""
    e, given, found = np.empty(x.shape[1]), spare_numbers(x, x.shape[1]), spare_numbers(x, x.shape[1])
    for i in range(x.shape[0]):
        place = out[i]
        row, y = widened(x[i], given, kind), target(place, found)
        peak = largest(row)
        total = weights(row, peak, e)
        # One above the peak's own weight, hence also where a NaN or an infinity made it NaN.
        if not (abs(peak) < np.inf and total >= 1.0):
            left[i] = True
            continue
        factor = 1.0 / total
        for j in range(len(e)):
            y[j] = rounded(e[j] * factor, place, kind)
        stored(y, place, kind)


@loop
def log_softmax(x: Any, out: Any, left: Any, kind: Any) -> None:
    """Their logarithms."""
    given, found = spare_numbers(x, x.shape[1]), spare_numbers(x, x.shape[1])
    for i in range(x.shape[0]):
        place = out[i]
        row, y = widened(x[i], given, kind), target(place, found)
        peak, low = largest(row), smallest(row)
        # A difference so large would hide the logarithm, and leave ties.
        if not (abs(peak) < np.inf and low - peak > -(2.0**38)):
            left[i] = True
            continue
        logarithm = log_of_sum(sum_of_weights(row, peak), row, peak)
        if not logarithm > 2.0**-12:
            left[i] = True
            continue
        for j in range(len(row)):
            y[j] = rounded((np.float64(row[j]) - peak) - logarithm, place, kind)
        stored(y, place, kind)


def _settled(row: Any, peak: Any, place: Any, y: Any, kind: Any) -> Any:
    """Whether float32 arithmetic tells the 16-bit result, which is then in place."""


@overload(_settled)
def _settled_codes(row, peak, place, y, kind):
    if place.dtype != types.uint16:
        return lambda row, peak, place, y, kind: False

    def settled(row, peak, place, y, kind):
        total = rough_sum_of_weights(row, peak)
        if not (abs(peak) < np.inf and total >= 2.0):
            return False
        value = peak + math.log(total)
        y[0] = rounded(value - ROUGH, place, kind)
        if y[0] != rounded(value + ROUGH, place, kind):
            return False
        stored(y, place, kind)
        return True

    return settled


@loop
def logsumexp(x: Any, out: Any, left: Any, kind: Any) -> None:
    """The logarithm of the sum of exponentials."""
    given, found = spare_numbers(x, x.shape[1]), np.empty(1, np.float32)
    for i in range(x.shape[0]):
        place = out[i : i + 1]
        row, y = widened(x[i], given, kind), target(place, found)
        peak = largest(row)
        if _settled(row, peak, place, y, kind):
            continue
        total = sum_of_weights(row, peak)
        if not (abs(peak) < np.inf and total >= 1.0):
            left[i] = True
            continue
        y[0] = rounded(peak + log_of_sum(total, row, peak), place, kind)
        stored(y, place, kind)


@loop
def _usable(mean_square: Any, eps: Any, root: Any) -> Any:
    """Whether a row can be multiplied by the inverse of its root.

    One that vanishes beside eps has results too near to a tie for float64; a quotient by a root of few bits
    can be a tie itself, which the product with its inverse need not be.
    """
    ordinary = mean_square >= eps * 2.0**-40 and 0.0 < root < np.inf
    return ordinary and np.float64(np.float32(root)) != root


@loop
def rms_norm(x: Any, out: Any, left: Any, kind: Any, scale: Any, eps: Any, twice: Any) -> None:
    """x over its root mean square, times `scale`; rounded before that with `twice`."""
    given, found = spare_numbers(x, x.shape[1]), spare_numbers(x, x.shape[1])
    for i in range(x.shape[0]):
        place = out[i]
        row, y = widened(x[i], given, kind), target(place, found)
        mean = moments(row, 0.0)[1] / len(row)
        root = math.sqrt(mean + eps)
        if not _usable(mean, eps, root):
            left[i] = True
            continue
        factor = 1.0 / root
        if twice:
            for j in range(len(row)):
                once = rounded(np.float64(row[j]) * factor, place, kind)
                y[j] = rounded(np.float64(once) * scale[j], place, kind)
        else:
            for j in range(len(row)):
                y[j] = rounded(np.float64(row[j]) * factor * scale[j], place, kind)
        stored(y, place, kind)


@loop
def layer_norm(x: Any, out: Any, left: Any, kind: Any, scale: Any, shift: Any, eps: Any) -> None:
    """x less its mean over its deviation, times `scale` plus `shift`."""
    given, found = spare_numbers(x, x.shape[1]), spare_numbers(x, x.shape[1])
    for i in range(x.shape[0]):
        place = out[i]
        row, y = widened(x[i], given, kind), target(place, found)
        mean = moments(row, 0.0)[0] / len(row)
        off, square = moments(row, mean)
        # The rounding error of the mean.
        rest = off / len(row)
        variance = square / len(row) - rest * rest
        root = math.sqrt(variance + eps)
        if not _usable(variance, 0.0, root):
            left[i] = True
            continue
        factor = 1.0 / root
        for j in range(len(row)):
            d = ((np.float64(row[j]) - mean) - rest) * factor
            y[j] = rounded(d * scale[j] + shift[j], place, kind)
        stored(y, place, kind)
