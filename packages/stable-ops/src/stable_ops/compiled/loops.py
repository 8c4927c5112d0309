"""Loops over one row of float32 numbers, each simple enough for LLVM to use the processor's vectors."""

# mypy: disable-error-code="untyped-decorator, no-untyped-call"

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stable_ops.compiled.bits import bits_of, loop, number_of, plus

_LOG2_E, _LN2 = 1.4426950408889634, 0.6931471805599453
# Adding 1.5 * 2^52 leaves the nearest integer in the low bits.
_INTEGER = 6755399441055744.0
_INTEGER_32 = np.float32(12582912.0)
# So many numbers are added one after the other (in vectors at most a fourth), the sums of such pieces with
# their errors: however long a row is, a sum of one sign is off by at most so many roundings.
_PIECE = 512
# A weight so small is nothing beside the peak's, in any format that results have.
_LOWEST = -700.0
# _PIECE roundings to float32, and 4 + |x - peak| in the exponentials, whose mean over the weights is at most
# the logarithm of their number.
ROUGH = 2.0**-14
_SIZE = np.int32(0x7FFFFFFF)


@loop
def exponential(d: Any) -> Any:
    """exp(d) for d <= 700 within (2 + |d|) 2^-53, never less than exp(-700); NaN at NaN."""
    d = _LOWEST if d < _LOWEST else d
    z = d * _LOG2_E + _INTEGER
    k = z - _INTEGER
    # One rounding in all where products and sums become one operation; ln 2 itself is off by k 2^-56.
    r = d - k * _LN2
    p = r * 2.4994303274813944e-08 + 2.7632308174894487e-07
    p = p * r + 2.755762262047198e-06
    p = p * r + 2.48014864814364e-05
    p = p * r + 0.00019841269432470488
    p = p * r + 0.0013888888951261041
    p = p * r + 0.008333333333559434
    p = p * r + 0.04166666666649263
    p = p * r + 0.1666666666666617
    p = p * r + 0.5000000000000018
    p = p * r + 1.0
    p = p * r + 1.0
    return number_of(bits_of(p) + (bits_of(z) << 52))


@loop
def _key(x: Any) -> Any:
    """Bits that are ordered as the numbers are, NaN beyond the infinities."""
    bits = bits_of(x)
    return np.int32(bits ^ ((bits >> np.int32(31)) & _SIZE))


@loop
def _unkeyed(key: Any) -> Any:
    return np.float64(number_of(np.int32(key ^ ((key >> np.int32(31)) & _SIZE))))


@loop
def largest(x: Any) -> Any:
    """The largest of a row as float64; NaN if it holds a positive NaN. Integers, so that any order does."""
    top = np.int32(-0x80000000)
    for j in range(len(x)):
        top = max(top, _key(x[j]))
    return _unkeyed(top)


@loop
def smallest(x: Any) -> Any:
    """The smallest of a row as float64; NaN if it holds a negative NaN."""
    low = np.int32(0x7FFFFFFF)
    for j in range(len(x)):
        low = min(low, _key(x[j]))
    return _unkeyed(low)


@loop
def _added(s: Any, lost: Any, piece: Any) -> Any:
    """s + piece, and what the roundings of such sums lost so far."""
    t = s + piece
    part = t - s
    return t, lost + ((s - (t - part)) + (piece - part))


@loop
def _weights_piece(x: Any, peak: Any, e: Any) -> Any:
    s = 0.0
    for j in range(len(x)):
        w = exponential(np.float64(x[j]) - peak)
        e[j] = w
        s = plus(s, w)
    return s


@loop
def weights(x: Any, peak: Any, e: Any) -> Any:
    """exp(x - peak) into e; their sum, NaN if the row holds one."""
    s, lost = 0.0, 0.0
    for start in range(0, len(x), _PIECE):
        stop = min(start + _PIECE, len(x))
        s, lost = _added(s, lost, _weights_piece(x[start:stop], peak, e[start:stop]))
    return s + lost


@loop
def _sum_piece(x: Any, peak: Any) -> Any:
    s = 0.0
    for j in range(len(x)):
        s = plus(s, exponential(np.float64(x[j]) - peak))
    return s


@loop
def sum_of_weights(x: Any, peak: Any) -> Any:
    """The sum of exp(x - peak), NaN if the row holds one."""
    s, lost = 0.0, 0.0
    for start in range(0, len(x), _PIECE):
        s, lost = _added(s, lost, _sum_piece(x[start : min(start + _PIECE, len(x))], peak))
    return s + lost


@loop
def _exponential_32(d: Any) -> Any:
    """exp(d) in float32 for -87 <= d <= 0, within (4 + |d|) 2^-24."""
    z = d * np.float32(_LOG2_E) + _INTEGER_32
    k = z - _INTEGER_32
    r = d - k * np.float32(_LN2)
    p = r * np.float32(1 / 720) + np.float32(1 / 120)
    p = p * r + np.float32(1 / 24)
    p = p * r + np.float32(1 / 6)
    p = p * r + np.float32(1 / 2)
    p = p * r + np.float32(1)
    p = p * r + np.float32(1)
    return number_of(np.int32(bits_of(p) + np.int32(bits_of(z) << np.int32(23))))


@loop
def _rough_piece(x: Any, top: Any) -> Any:
    s = np.float32(0)
    for j in range(len(x)):
        d = x[j] - top
        s = plus(s, _exponential_32(np.float32(-87) if d < np.float32(-87) else d))
    return s


@loop
def rough_sum_of_weights(x: Any, peak: Any) -> Any:
    """The sum of exp(x - peak) to `ROUGH`, relative, in rows of up to 2^30; NaN if the row holds one."""
    s = 0.0
    for start in range(0, len(x), _PIECE):
        s += np.float64(_rough_piece(x[start : min(start + _PIECE, len(x))], np.float32(peak)))
    return s


@loop
def log_of_sum(s: Any, x: Any, peak: Any) -> Any:
    """log of the sum s of the weights; of one below 2 as log1p of all but the first peak's."""
    if s >= 2.0:
        return math.log(s)
    first = 0
    while x[first] != peak:
        first += 1
    return math.log1p(sum_of_weights(x[:first], peak) + sum_of_weights(x[first + 1 :], peak))


@loop
def _moments_piece(x: Any, mean: Any) -> Any:
    s, q = 0.0, 0.0
    for j in range(len(x)):
        d = np.float64(x[j]) - mean
        s = plus(s, d)
        q = plus(q, d * d)
    return s, q


@loop
def moments(x: Any, mean: Any) -> Any:
    """The sums of x - mean and of its square."""
    s, lost, q, missed = 0.0, 0.0, 0.0, 0.0
    for start in range(0, len(x), _PIECE):
        first, second = _moments_piece(x[start : min(start + _PIECE, len(x))], mean)
        s, lost = _added(s, lost, first)
        q, missed = _added(q, missed, second)
    return s + lost, q + missed
