"""Loops over one row, each simple enough for LLVM to use the processor's vectors.

No sum's order is left to the compiler beyond one loop, whose order is fixed where it is compiled.
"""

# numba's decorators carry no types.
# mypy: disable-error-code="untyped-decorator, no-untyped-call"

from __future__ import annotations

from typing import Any

import numba
import numpy as np

_LOG2_E = 1.4426950408889634
# ln 2 in two parts; the first has 42 bits, so its product with an exponent is exact.
_LN2_HIGH, _LN2_LOW = 0.6931471805598903, 5.497923018708371e-14
# Adding 1.5 * 2^52 leaves the nearest integer in the low bits.
_INTEGER = 6755399441055744.0
# A weight so small is nothing beside the peak's, in any format that results have.
_LOWEST = -700.0

# A product and a sum may become one operation.
loop = numba.njit(fastmath={"contract"}, error_model="numpy", nogil=True, cache=True)
_summing = numba.njit(fastmath={"contract", "reassoc"}, error_model="numpy", nogil=True, cache=True)


@numba.njit(fastmath={"nnan", "reassoc"}, nogil=True, cache=True)
def _largest(x: Any) -> Any:
    top = np.float32(-np.inf)
    for j in range(len(x)):
        top = max(top, x[j])
    return top


@loop
def _odd_ones(x: Any) -> Any:
    """How many are NaN."""
    found = 0
    for j in range(len(x)):
        found += x[j] != x[j]
    return found


@loop
def peak_of(x: Any) -> Any:
    """The largest of a row as float64; NaN if it holds one."""
    return np.nan if _odd_ones(x) else np.float64(_largest(x))


@loop
def powers(x: Any, peak: Any, whole: Any, share: Any) -> None:
    """exp(x - peak) = share 2^k, k in the low bits of `whole`; share within 2^-52 (see `exponentials`)."""
    for j in range(len(x)):
        d = max(np.float64(x[j]) - peak, _LOWEST)
        z = d * _LOG2_E + _INTEGER
        k = z - _INTEGER
        r = (d - k * _LN2_HIGH) - k * _LN2_LOW
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
        whole[j] = z
        share[j] = p


@loop
def raise_all(bits: Any, whole: Any) -> None:
    """Times 2^k, in the bits of both."""
    for j in range(len(bits)):
        bits[j] += whole[j] << 52


@_summing
def total(e: Any) -> Any:
    """The sum of float64 numbers."""
    s = 0.0
    for j in range(len(e)):
        s += e[j]
    return s


@_summing
def total_of(x: Any) -> Any:
    """The sum of float32 numbers in float64."""
    s = 0.0
    for j in range(len(x)):
        s += np.float64(x[j])
    return s


@_summing
def squares_of(x: Any) -> Any:
    """The sum of the squares of float32 numbers in float64."""
    s = 0.0
    for j in range(len(x)):
        s += np.float64(x[j]) * np.float64(x[j])
    return s


@_summing
def squares(d: Any) -> Any:
    """The sum of squares of float64 numbers."""
    s = 0.0
    for j in range(len(d)):
        s += d[j] * d[j]
    return s


@loop
def to_odd(y: Any, near: Any, near_bits: Any, out_bits: Any) -> None:
    """Float64 to float32, what is inexact with an odd last bit: then a rounding to 16 bits is the only one.

    `near` is overwritten, `near_bits` are its bits; results go elsewhere, so that the loop can use vectors.
    """
    for j in range(len(y)):
        near[j] = np.float32(y[j])
    for j in range(len(y)):
        back = np.float64(near[j])
        step = np.int32(-1) if abs(back) > abs(y[j]) else np.int32(1)
        wrong = (back != y[j]) and (near_bits[j] & 1) == 0 and y[j] == y[j]
        out_bits[j] = near_bits[j] + (step if wrong else np.int32(0))
