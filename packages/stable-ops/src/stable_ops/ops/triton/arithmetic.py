"""What the kernels compute with: one rounding, an exponential, a logarithm of one plus a sum."""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

import triton
import triton.language as tl

_LOG2_E = tl.constexpr(1.4426950408889634)
# Adding 1.5 * 2^23 leaves the nearest integer in the low bits of a float32.
_INTEGER = tl.constexpr(12582912.0)
_INTEGER_BITS = tl.constexpr(0x4B400000)
# ln 2 in two parts; the first has 15 bits, so its product with an exponent is exact.
_LN2_HIGH = tl.constexpr(0.693145751953125)
_LN2_LOW = tl.constexpr(1.4286068203094172e-06)
# float32 weights are 2^32 times too large, so that those which round to subnormals stay normal numbers.
_SHIFT = tl.constexpr(32)
_LIFT = tl.constexpr(4294967296.0)
# 2^-50 off 1 and 1/2, and where the share is 1/2 to float64.
_BELOW_ONE = tl.constexpr(1.0 - 2.0**-50)
_BELOW_HALF = tl.constexpr(0.5 - 2.0**-51)
_ABOVE_HALF = tl.constexpr(0.5 + 2.0**-51)
_NEAR_HALF = tl.constexpr(2.0**-48)


@triton.jit
def round_once(y, dtype: tl.constexpr):
    """float64 to a shorter format with one rounding.

    To 16 bits by way of a float32 rounded to odd: an inexact one never lies on a tie of the format.
    """
    near = y.to(tl.float32)
    if dtype != tl.float32:
        back = near.to(tl.float64)
        bits = near.to(tl.int32, bitcast=True)
        towards_zero = tl.abs(back) > tl.abs(y)
        odd = bits + tl.where(towards_zero, -1, 1)
        near = tl.where((back != y) & ((bits & 1) == 0), odd, bits).to(tl.float32, bitcast=True)
    return near.to(dtype)


@triton.jit
def weights(x, peak, WIDE: tl.constexpr):
    """exp(x - peak) times `unit`: float64 for float32 numbers, float32 within 2 ulp for 16-bit ones.

    The difference is taken in two parts, since its rounding error is a relative one of the result. With
    x - peak = k ln 2 + r, exp(r) = 1 + r + r^2 q(r); the polynomial is a minimax fit, 2^-27.8 off.
    """
    if WIDE:
        e = tl.exp(x.to(tl.float64) - peak.to(tl.float64))
    else:
        a = x.to(tl.float32)
        b = peak.to(tl.float32)
        high = a - b
        taken = a - high
        low = (a - (high + taken)) + (taken - b)
        z = tl.fma(high, _LOG2_E, _INTEGER)
        k = z - _INTEGER
        r = tl.fma(k, -_LN2_HIGH, high) + tl.fma(k, -_LN2_LOW, low)
        q = tl.fma(r, 0.001381443697027862, 0.008368796668946743)
        q = tl.fma(q, r, 0.041668396443128586)
        q = tl.fma(q, r, 0.1666651964187622)
        q = tl.fma(q, r, 0.4999999403953552)
        p = tl.fma(r * r, q, r)
        exponent = z.to(tl.int32, bitcast=True) - _INTEGER_BITS + (127 + _SHIFT)
        e = (1.0 + p) * (exponent << 23).to(tl.float32, bitcast=True)
        # Also where high is -inf and nothing above means anything; NaN stays.
        e = tl.where(high < -109.0, 0.0, e)
    return e


@triton.jit
def unit(WIDE: tl.constexpr):
    """What `weights` gives for x = peak."""
    return 1.0 if WIDE else _LIFT


@triton.jit
def log1p(s):
    """log(1 + s) of a float64 s >= 0: the rounding error of 1 + s divides out (Kahan)."""
    u = 1.0 + s
    return tl.where(u == 1.0, s, tl.log(u) * (s / tl.where(u == 1.0, 1.0, u - 1.0)))


@triton.jit
def logistic(t):
    """1 / (1 + exp(-t)) of a float64 t, without overflow."""
    small = tl.exp(-tl.abs(t))
    return tl.where(t < 0, small, 1.0) / (1.0 + small)


@triton.jit
def gate(x, share):
    """x times a share that float64 cannot tell from 1/2 or 1, on its own side of it (see the reference)."""
    # As tensors: the language makes float32 of a literal, and these would be 1 and 1/2.
    below_one = tl.full([1], _BELOW_ONE, tl.float64)
    below_half = tl.full([1], _BELOW_HALF, tl.float64)
    above_half = tl.full([1], _ABOVE_HALF, tl.float64)
    # Written so that a NaN stays.
    off_one = tl.where(share > below_one, below_one, share)
    off_half = tl.where(x < 0, below_half, above_half)
    share = tl.where(tl.abs(x) < _NEAR_HALF, off_half, off_one)
    return tl.where(x == -float("inf"), -0.0, x * share)
