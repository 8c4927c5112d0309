"""exp(x - peak) of 16-bit numbers in float32, and sums of it: what the softmax family computes with.

A weight is 2^(x L - shift) with L = 1/ln 2. Nothing is subtracted from x as long as the peak is below 2^12,
so nothing is rounded off: with n = round(x L), f = x L - n comes out of two fused multiply-adds to 2^-25, the
power 2^f out of a polynomial of degree 6 (2^-29.1 off, 2^-23.7 with its roundings), and n is added to the exponent
bits. A larger peak is subtracted first: 16-bit numbers so large are either within a factor of two of it,
where the difference is exact, or so far below that their weight is nothing.

A sum of weights adds `GROUP` neighbours in float32 as a tree, then the groups in float64: the terms are
positive, so it is within log2(GROUP) 2^-24 of the sum of the weights. The tree is the same in every launch.
"""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

import triton
import triton.language as tl

_LOG2_E = tl.constexpr(1.4426950408889634)
# 1/ln 2 less its float32.
_LOG2_E_LOW = tl.constexpr(1.925963033500116e-08)
# Adding 1.5 * 2^23 leaves the nearest integer in the low bits of a float32.
_INTEGER = tl.constexpr(12582912.0)
# From here on the peak is subtracted.
_FAR = tl.constexpr(4096.0)
# Weights are 2^32 times too large, so that those which round to subnormals stay normal numbers,
_LIFT = tl.constexpr(32.0)
# and e^-104 of the peak, 2^-150, is as good as nothing: no 16-bit format has half of it.
_LOWEST = tl.constexpr(-104.0)


@triton.jit
def larger(a, b):
    """The maximum, NaN if one of them is."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def row_peak(x):
    """The largest number of each row `(rows, n)`, NaN if there is one."""
    return tl.reduce(x, 1, larger)


@triton.jit
def reference(peak):
    """What is subtracted from x, and the integer that is subtracted from its exponent.

    The peak's own weight is then between 2^31.5 and 2^32.5. A peak that is infinite or NaN gives nothing of use.
    """
    base = tl.where(tl.abs(peak) < _FAR, 0.0, peak)
    near = tl.where(tl.abs(peak) < _FAR, peak, 0.0)
    shift = tl.fma(near, _LOG2_E, _INTEGER) - _INTEGER
    return base, shift


@triton.jit
def power_of_two(f):
    """2^f for |f| <= 1/2: a minimax fit, 2^-28.3 off, 2^-23.8 with its roundings."""
    p = tl.fma(f, 0.0001532646274426952, 0.0013390806270763278)
    p = tl.fma(p, f, 0.009618505835533142)
    p = tl.fma(p, f, 0.05550359934568405)
    p = tl.fma(p, f, 0.24022647738456726)
    p = tl.fma(p, f, 0.6931471824645996)
    return tl.fma(p, f, 1.0)


@triton.jit
def lifted_weights(x, peak):
    """exp(x - peak) of float32 x that hold 16-bit numbers, times 2^32 and a factor that the row has in common.

    Within 2^-23.4 of it. At least 2^-119: x may be -inf.
    """
    base, shift = reference(peak)
    offset = _INTEGER + _LIFT - shift
    lowest = _LOWEST + (peak - base)
    t = tl.maximum(x - base, lowest)
    z = tl.fma(t, _LOG2_E, offset)
    n = z - offset
    f = tl.fma(t, _LOG2_E_LOW, tl.fma(t, _LOG2_E, -n))
    p = power_of_two(f)
    return (p.to(tl.int32, bitcast=True) + (z.to(tl.int32, bitcast=True) << 23)).to(tl.float32, bitcast=True)


@triton.jit
def pairs(e):
    """Neighbours of the last axis added."""
    return tl.sum(e.reshape(e.shape[0], e.shape[1] // 2, 2), axis=2)


@triton.jit
def row_sum(e, GROUP: tl.constexpr):
    """Sums of float32 rows `(rows, n)` in float64, as the module says."""
    if GROUP >= 2:
        e = pairs(e)
    if GROUP >= 4:
        e = pairs(e)
    if GROUP >= 8:
        e = pairs(e)
    return tl.sum(e.to(tl.float64), axis=1)


@triton.jit
def reciprocal(total):
    """1 / total of a float64 in float32: a float32 estimate and one step of Newton's in float64."""
    guess = 1.0 / total.to(tl.float32)
    wide = guess.to(tl.float64)
    return tl.fma(wide, tl.fma(-total, wide, 1.0), wide).to(tl.float32)
