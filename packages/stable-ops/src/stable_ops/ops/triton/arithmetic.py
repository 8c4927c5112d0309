"""What the kernels compute with: one rounding, a logarithm of one plus a sum, the logistic function."""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

import triton
import triton.language as tl

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
