"""Rows of float32 numbers in compiled loops; what is not an ordinary row is left to numpy.

Every function takes rows `(m, n)`, n >= 1, results of the same shape (`(m,)` for logsumexp), and `left`
`(m,)`, where it marks the rows that it has not computed: with NaN, an infinity, or a case of its own. With
`odd` results are rounded to odd, for who rounds them to 16 bits.
"""

# mypy: disable-error-code="untyped-decorator, no-untyped-call"

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stable_ops.compiled.loops import (
    loop,
    peak_of,
    powers,
    raise_all,
    squares,
    squares_of,
    to_odd,
    total,
    total_of,
)

# So many at a time stay in the first cache.
_PIECE = 512


@loop
def _weights(x: Any, peak: Any, e: Any, whole: Any) -> Any:
    """exp(x - peak) into e; their sum."""
    s = 0.0
    for start in range(0, len(x), _PIECE):
        stop = min(start + _PIECE, len(x))
        powers(x[start:stop], peak, whole[: stop - start], e[start:stop])
        raise_all(e[start:stop].view(np.int64), whole[: stop - start].view(np.int64))
        s += total(e[start:stop])
    return s


@loop
def _store(y: Any, out: Any, odd: Any) -> None:
    if odd:
        near = np.empty(len(y), np.float32)
        to_odd(y, near, near.view(np.int32), out.view(np.int32))
    else:
        for j in range(len(y)):
            out[j] = np.float32(y[j])


@loop
def _log_of(s: Any, x: Any, peak: Any, e: Any) -> Any:
    """log of the sum of weights; of one below 2 as log1p of all but the first peak's."""
    if s >= 2.0:
        return math.log(s)
    for j in range(len(x)):
        if x[j] == peak:
            e[j] = 0.0
            break
    return math.log1p(total(e))


@loop
def softmax(x: Any, out: Any, left: Any, odd: Any) -> None:
    """Probabilities."""
    e, whole = np.empty(x.shape[1]), np.empty(_PIECE)
    for i in range(x.shape[0]):
        peak = peak_of(x[i])
        if not abs(peak) < np.inf:
            left[i] = True
            continue
        factor = 1.0 / _weights(x[i], peak, e, whole)
        for j in range(len(e)):
            e[j] *= factor
        _store(e, out[i], odd)


@loop
def log_softmax(x: Any, out: Any, left: Any, odd: Any) -> None:
    """Their logarithms."""
    e, whole = np.empty(x.shape[1]), np.empty(_PIECE)
    for i in range(x.shape[0]):
        row = x[i]
        peak = peak_of(row)
        logarithm = _log_of(_weights(row, peak, e, whole), row, peak, e) if abs(peak) < np.inf else 0.0
        # Beside x - peak it would vanish, and leave ties.
        if not logarithm > 2.0**-12:
            left[i] = True
            continue
        lowest = 0.0
        for j in range(len(e)):
            e[j] = np.float64(row[j]) - peak
            lowest = min(lowest, e[j])
        if not lowest > -(2.0**38):
            left[i] = True
            continue
        for j in range(len(e)):
            e[j] -= logarithm
        _store(e, out[i], odd)


@loop
def logsumexp(x: Any, out: Any, left: Any, odd: Any) -> None:
    """The logarithm of the sum of exponentials."""
    e, whole, one = np.empty(x.shape[1]), np.empty(_PIECE), np.empty(1)
    for i in range(x.shape[0]):
        peak = peak_of(x[i])
        if not abs(peak) < np.inf:
            left[i] = True
            continue
        one[0] = peak + _log_of(_weights(x[i], peak, e, whole), x[i], peak, e)
        _store(one, out[i : i + 1], odd)


@loop
def rms_norm(x: Any, out: Any, left: Any, odd: Any, scale: Any, eps: Any, twice: Any) -> None:
    """x over its root mean square, times `scale` unless that is empty; rounded before that with `twice`."""
    y = np.empty(x.shape[1])
    for i in range(x.shape[0]):
        row = x[i]
        mean = squares_of(row) / len(row)
        # A row that vanishes beside eps has results too near to a tie for float64.
        if not (mean >= eps * 2.0**-40 and mean < np.inf):
            left[i] = True
            continue
        root = math.sqrt(mean + eps)
        for j in range(len(row)):
            y[j] = np.float64(row[j]) / root
        if twice:
            for j in range(len(row)):
                y[j] = np.float64(np.float32(y[j]))
        for j in range(len(scale)):
            y[j] *= scale[j]
        _store(y, out[i], odd)


@loop
def layer_norm(x: Any, out: Any, left: Any, odd: Any, scale: Any, shift: Any, eps: Any) -> None:
    """x less its mean over its deviation, times `scale` and plus `shift` unless these are empty."""
    y = np.empty(x.shape[1])
    for i in range(x.shape[0]):
        row = x[i]
        mean = total_of(row) / len(row)
        if not abs(mean) < np.inf:
            left[i] = True
            continue
        for j in range(len(row)):
            y[j] = np.float64(row[j]) - mean
        # The rounding error of the mean.
        rest = total(y) / len(y)
        for j in range(len(y)):
            y[j] -= rest
        root = math.sqrt(squares(y) / len(y) + eps)
        for j in range(len(y)):
            y[j] /= root
        for j in range(len(scale)):
            y[j] *= scale[j]
        for j in range(len(shift)):
            y[j] += shift[j]
        _store(y, out[i], odd)
