"""exp(x - peak) and sums of it: what the softmax family computes with.

A lifted weight of a 16-bit number is 2^(x L - shift + 32) in float32, L = 1/ln 2. Nothing is subtracted from
x as long as the peak is below 2^12, so nothing is rounded off: with n = round(x L), f = x L - n comes out of
two fused multiply-adds to 2^-25, 2^f out of a polynomial of degree 6 (2^-28.3 off, 2^-23.8 with its
roundings), and n is added to the exponent bits. A larger peak is subtracted first: numbers so large are
either within a factor of two of it, where the difference is exact, or so far below that their weight is
nothing.

A sum of them adds `GROUP` neighbours in float32 as a tree, then the groups in float64: the terms are
positive, so it is within log2(GROUP) 2^-24 of the sum of the weights. The tree is the same in every launch.
"""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

import os

import triton
import triton.language as tl

# The interpreter calls Python for each pair of a reduction that numpy does not know.
INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
_LOG2_E = tl.constexpr(1.4426950408889634)
# 1/ln 2 less its float32.
_LOG2_E_LOW = tl.constexpr(1.925963033500116e-08)
# Adding 1.5 * 2^23 leaves the nearest integer in the low bits of a float32, 1.5 * 2^52 in those of a float64.
_INTEGER = tl.constexpr(12582912.0)
_INTEGER_WIDE = tl.constexpr(6755399441055744.0)
# ln 2 in two parts; the first has 42 bits, so its product with an exponent is exact.
_LN2 = tl.constexpr(0.6931471805599453)
_LN2_HIGH = tl.constexpr(0.6931471805598903)
_LN2_LOW = tl.constexpr(5.497923018708371e-14)
# The bits of the root of 1/2.
_ROOT_HALF = tl.constexpr(0x3FE6A09E667F3BCC)
# Up to here log(1 + s) is s - s^2/2, 2^-41 off; above it log loses 2^-33 in 1 + s.
_SMALL = tl.constexpr(2.0**-20)
# From here on the peak is subtracted.
_FAR = tl.constexpr(4096.0)
# Weights are 2^32 times too large, so that those which round to subnormals stay normal numbers,
_LIFT = tl.constexpr(32.0)
# and e^-108 of the peak, 2^-155.8, is as good as nothing: the formats do not have half of a million times it.
_LOWEST = tl.constexpr(-108.0)
# Makes normal numbers of all `raised_powers` that matter.
_RAISED = tl.constexpr(16.0)


@triton.jit
def larger(a, b):
    """The maximum, NaN if one of them is."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def row_peak(x):
    """The largest number of each row of float32 `(rows, n)`, NaN if there is one."""
    if INTERPRETED:
        # Its maximum leaves NaN out.
        return tl.max(x, axis=1) + tl.sum(tl.where(x == x, 0.0, x), axis=1)
    else:
        return tl.reduce(x, 1, larger)


@triton.jit
def double(value: tl.constexpr):
    """A float64 constant: the language makes float32 of a literal."""
    return tl.full((), value, tl.float64)


@triton.jit
def origin(peak):
    """What is subtracted from x, and from the exponent, so that the peak's weight is 2^31.5 to 2^32.5."""
    far = tl.abs(peak) >= _FAR
    shift = tl.fma(tl.where(far, 0.0, peak), _LOG2_E, _INTEGER) - _INTEGER
    return tl.where(far, peak, 0.0), shift


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
def lifted_weights(x, peak, QUICK: tl.constexpr = False):
    """Lifted weights of float32 x that hold 16-bit numbers, within 2^-23.4; 2^-22.5 with the device's 2^f.

    They are 2^-124.3 at least, also where x is -inf.
    """
    base, shift = origin(peak)
    offset = _INTEGER + _LIFT - shift
    t = tl.maximum(x - base, _LOWEST + (peak - base))
    z = tl.fma(t, _LOG2_E, offset)
    n = z - offset
    f = tl.fma(t, _LOG2_E_LOW, tl.fma(t, _LOG2_E, -n))
    power = tl.exp2(f) if QUICK else power_of_two(f)
    bits = power.to(tl.int32, bitcast=True) + (z.to(tl.int32, bitcast=True) << 23)
    return bits.to(tl.float32, bitcast=True)


@triton.jit
def quick_weights(x, peak):
    """exp(x - peak) for sums of which an absolute error matters: the device's 2^t, 2^-22 off, of a rounded t.

    What the rounding of t costs the sum is at most (|t| 2^-23) e^t, below 2^-24 of the peak's own term.
    """
    return tl.exp2((x - peak) * _LOG2_E)


@triton.jit
def slope_of(peak):
    """What x is multiplied by to be an exponent of 2: float32 of 1/ln 2, and so much less of it where 16-bit
    numbers so large are either equal or too far apart to matter that the product stays below 2^22.
    """
    exponent = (peak.to(tl.int32, bitcast=True) >> 23) & 255
    steps = tl.where(exponent < 147, 127, 274 - exponent)
    return (steps << 23).to(tl.float32, bitcast=True) * _LOG2_E


@triton.jit
def above(reference, peak, slope):
    """2^(reference - peak slope) in float64: what a float32 reference is off."""
    off = tl.fma(peak.to(tl.float64), -slope.to(tl.float64), reference.to(tl.float64))
    return double_exp(off * double(_LN2))


@triton.jit
def powers(x, slope, reference):
    """2^(x slope - reference) by the device's 2^t, 2^-22.7 off, of a t that is rounded once.

    Of e^x that is off by a factor which all x have in common, by |x - peak| 2^-26, and by |t| 2^-24.5.
    """
    return tl.exp2(tl.fma(x, slope, -reference))


@triton.jit
def raised_powers(x, peak):
    """2^(x slope - shift + 16) as `powers`, for a whole shift that makes 2^15.5 to 2^16.5 of the peak.

    A power below 2^-126 is nothing: relative to the peak that is less than half of the least bfloat16.
    """
    slope = slope_of(peak)
    shift = tl.fma(peak, slope, _INTEGER) - _INTEGER
    return tl.exp2(tl.fma(x, slope, _RAISED - shift))


@triton.jit
def double_exp(d):
    """exp(d) of a float64 d <= 1, within 2^-51.5; 0 below e^-108."""
    z = tl.fma(d, double(_LOG2_E), double(_INTEGER_WIDE))
    n = z - double(_INTEGER_WIDE)
    r = tl.fma(n, double(-_LN2_LOW), tl.fma(n, double(-_LN2_HIGH), d))
    # exp(r) for |r| <= ln(2)/2, a minimax fit 2^-55.3 off.
    p = tl.fma(r, double(2.4994303273814394e-08), double(2.7632308174894487e-07))
    p = tl.fma(p, r, double(2.755762262047198e-06))
    p = tl.fma(p, r, double(2.48014864814364e-05))
    p = tl.fma(p, r, double(0.00019841269432470488))
    p = tl.fma(p, r, double(0.0013888888951261041))
    p = tl.fma(p, r, double(0.008333333333559434))
    p = tl.fma(p, r, double(0.04166666666649263))
    p = tl.fma(p, r, double(0.1666666666666617))
    p = tl.fma(p, r, double(0.5000000000000018))
    p = tl.fma(p, r, 1.0)
    p = tl.fma(p, r, 1.0)
    bits = p.to(tl.int64, bitcast=True) + (z.to(tl.int64, bitcast=True) << 52)
    # Also where d is -inf and nothing above means anything; NaN stays.
    return tl.where(d < _LOWEST, 0.0, bits.to(tl.float64, bitcast=True))


@triton.jit
def double_weights(x, peak):
    """exp(x - peak) of float32 numbers in float64, as `double_exp`."""
    return double_exp(x.to(tl.float64) - peak.to(tl.float64))


@triton.jit
def quick_log(u):
    """log(u) of a normal float64 u > 0, within 2^-32: u = 2^k m, log(m) as a series in (m - 1)/(m + 1)."""
    bits = u.to(tl.int64, bitcast=True)
    # 0.7071 <= m < 1.4142
    k = (bits - _ROOT_HALF) >> 52
    m = (bits - (k << 52)).to(tl.float64, bitcast=True)
    below = (1.0 / (m + 1.0).to(tl.float32)).to(tl.float64)
    below = tl.fma(below, tl.fma(-(m + 1.0), below, 1.0), below)
    s = (m - 1.0) * below
    t = s * s
    p = tl.fma(t, double(2 / 13), double(2 / 11))
    p = tl.fma(p, t, double(2 / 9))
    p = tl.fma(p, t, double(2 / 7))
    p = tl.fma(p, t, double(2 / 5))
    p = tl.fma(p, t, double(2 / 3))
    p = tl.fma(p, t, 2.0)
    return tl.fma(k.to(tl.float64), double(_LN2), p * s)


@triton.jit
def quick_log1p(s):
    """log(1 + s) of a float64 s >= 0, within 2^-31."""
    return tl.where(s < _SMALL, tl.fma(s * s, -0.5, s), quick_log(1.0 + s))


@triton.jit
def pairs(e):
    """Neighbours in the rows `(rows, n)` added."""
    return tl.sum(e.reshape(e.shape[0], e.shape[1] // 2, 2), axis=2)


@triton.jit
def groups(e, GROUP: tl.constexpr):
    """`GROUP` neighbours added as a tree: 1, 2, 4 or 8."""
    if GROUP >= 2:
        e = pairs(e)
    if GROUP >= 4:
        e = pairs(e)
    if GROUP >= 8:
        e = pairs(e)
    return e


@triton.jit
def row_sum(e, GROUP: tl.constexpr):
    """Sums of rows `(rows, n)` in float64, as the module says."""
    return tl.sum(groups(e, GROUP).to(tl.float64), axis=1)


@triton.jit
def _add_both(a, b, c, d):
    return a + c, b + d


@triton.jit
def row_sums(e, f, GROUP: tl.constexpr):
    """`row_sum` of both."""
    if INTERPRETED:
        return row_sum(e, GROUP), row_sum(f, GROUP)
    else:
        both = (groups(e, GROUP).to(tl.float64), groups(f, GROUP).to(tl.float64))
        return tl.reduce(both, 1, _add_both)


@triton.jit
def reciprocal(total):
    """1 / total of a float64 within 2^-45: a float32 estimate and one step of Newton's in float64."""
    wide = (1.0 / total.to(tl.float32)).to(tl.float64)
    return tl.fma(wide, tl.fma(-total, wide, 1.0), wide)


@triton.jit
def forget(pairs):
    """The same int32, as if from elsewhere: what was computed of them is computed again, not kept."""
    if INTERPRETED:
        return pairs
    else:
        return tl.inline_asm_elementwise("mov.b32 $0, $1;", "=r,r", [pairs], tl.int32, is_pure=False, pack=1)
