"""The softmax family for rows that one program holds, and what its other kernels share with it.

A row is read once: its peak, the weights of its elements, their sum, and out of these its results. For
float32 (`WIDE`) everything is float64. For 16 bits there are float32 weights (see `exponentials`):

- softmax: weight times 1/sum, in float16 2 * 2^-23.4 + log2(GROUP) 2^-24 + 2^-23 off before the rounding; in
  bfloat16 with the device's powers, of exponents down to -126, 2^-18.4 off.
- log_softmax: (x - peak) - log1p(rest), the rest of the sum without its largest term; both are negative, so
  what each of them loses is not amplified.
- logsumexp: peak + log(sum), with weights of which only an absolute error matters; where the result is so
  small (`_CANCELLED`) that it matters relatively, the row is read again and summed in float64.
"""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

import triton
import triton.language as tl

from stable_ops.ops.triton.arithmetic import log1p, round_once
from stable_ops.ops.triton.exponentials import (
    double,
    double_exp,
    double_weights,
    lifted_weights,
    origin,
    quick_log,
    quick_log1p,
    quick_weights,
    raised_powers,
    reciprocal,
    row_peak,
    row_sum,
    row_sums,
)

SOFTMAX = tl.constexpr(0)
LOG_SOFTMAX = tl.constexpr(1)
LOGSUMEXP = tl.constexpr(2)
_LN2 = tl.constexpr(0.6931471805599453)
_UNLIFT = tl.constexpr(2.0**-32)
# Below it a quick logsumexp, 2^-21 off, is not within 0.001 ulp: 2^-10 * 2^-11 and 2^-10 * 2^-10 (bfloat16).
_CANCELLED = tl.constexpr(1.0)
_CANCELLED_BF16 = tl.constexpr(0.125)
# log(3) keeps 0.001 ulp of float16 off an error of 2^-21.6, log(1.25) that of bfloat16.
_SMALL_FP16 = tl.constexpr(3.0)
_SMALL_BF16 = tl.constexpr(1.25)


@triton.jit
def sums(x, peak, OP: tl.constexpr, WIDE: tl.constexpr, GROUP: tl.constexpr):
    """Weights of a tile `(rows, n)` for these peaks `(rows, 1)`, their sums, and those without the peaks."""
    if OP == LOGSUMEXP and not WIDE:
        e = quick_weights(x, peak)
    else:
        e = double_weights(x, peak) if WIDE else lifted_weights(x, peak)
    if OP == SOFTMAX or (OP == LOGSUMEXP and not WIDE):
        total = row_sum(e, 1 if WIDE else GROUP)
        rest = total
    else:
        total, rest = row_sums(e, tl.where(x == peak, 0.0, e), 1 if WIDE else GROUP)
    return e, total, rest


@triton.jit
def scale_of(own, peak, OP: tl.constexpr, WIDE: tl.constexpr):
    """What makes exp(x - peak), in float64, of weights that were taken with a peak of their own."""
    if WIDE or OP == LOGSUMEXP:
        scale = double_weights(own, peak)
    else:
        base, shift = origin(own)
        exponent = base.to(tl.float64) - peak.to(tl.float64)
        scale = double_exp(tl.fma(shift.to(tl.float64), double(_LN2), exponent)) * _UNLIFT
    return tl.where(own == -float("inf"), 0.0, scale)


@triton.jit
def count_twins(total, rest, scale):
    """How often the peak is there: the sums differ by that, up to their errors."""
    return tl.floor((total - rest) * scale + 0.5)


@triton.jit
def logarithm_of(others, WIDE: tl.constexpr):
    """log of the sum of all, given that of all but one peak."""
    return log1p(others) if WIDE else quick_log1p(others)


@triton.jit
def subtracted(peak):
    """The peak, or 0 where it is -inf: a part of a row may hold nothing else."""
    return tl.where(peak == -float("inf"), 0.0, peak)


@triton.jit
def log_probability(x, peak, logarithm, WIDE: tl.constexpr):
    """x - peak - logarithm; float64 off the tie that x - peak often is where the logarithm vanishes."""
    if WIDE:
        shifted = x.to(tl.float64) - peak.to(tl.float64)
        y = shifted - logarithm
        bits = y.to(tl.int64, bitcast=True)
        lost = (y == shifted) & (shifted < 0) & (shifted > -float("inf")) & ((bits & 1) == 0)
        y = tl.where(lost, bits + 1, bits).to(tl.float64, bitcast=True)
    else:
        y = (x - peak) - logarithm.to(tl.float32)
    return y


@triton.jit
def plus_peak(peak, logarithm):
    """peak + logarithm; an infinite peak is the answer, as is NaN."""
    wide = peak.to(tl.float64)
    return tl.where(tl.abs(wide) == float("inf"), wide, wide + logarithm)


@triton.jit
def is_cancelled(y, dtype: tl.constexpr):
    """Whether a log_softmax is so small that float32 lost digits of it."""
    return tl.abs(y) < (_CANCELLED_BF16 if dtype == tl.bfloat16 else _CANCELLED)


@triton.jit
def probabilities(x, peak, total, dtype: tl.constexpr):
    """exp(x - peak) / total of 16-bit numbers, for peaks and float64 totals that fit x."""
    e = lifted_weights(x, peak, dtype == tl.bfloat16)
    share = reciprocal(total) * scale_of(peak, peak, SOFTMAX, False)
    high = share.to(tl.float32)
    # An infinite peak, or NaN, makes NaN of the row.
    nothing = peak * 0.0
    if dtype == tl.bfloat16:
        return tl.fma(e, high, nothing)
    else:
        low = (share - high.to(tl.float64)).to(tl.float32)
        return tl.fma(e, high, tl.fma(e, low, nothing))


@triton.jit
def log_is_small(total, dtype: tl.constexpr):
    """Whether the logarithm of this sum of quick weights, 2^-21.6 off, is too inexact relative to itself."""
    return total < (_SMALL_BF16 if dtype == tl.bfloat16 else _SMALL_FP16)


@triton.jit
def precise_logarithm(x, peak, OP: tl.constexpr, GROUP: tl.constexpr):
    """log of the sums of exp(x - peak) of rows `(rows, n)` with peaks `(rows,)`, however small."""
    _, total, rest = sums(x, peak[:, None], OP, False, GROUP)
    scale = scale_of(peak, peak, OP, False)
    return quick_log1p(rest * scale + (count_twins(total, rest, scale) - 1.0))


@triton.jit
def _total(peak, total, rest, WIDE: tl.constexpr):
    """logsumexp of what was summed relative to the peak."""
    return plus_peak(peak, log1p(rest + (count_twins(total, rest, 1.0) - 1.0)) if WIDE else quick_log(total))


@triton.jit
def total_exactly(x_ptr, rows, count, length, peak, PIECE: tl.constexpr):
    """logsumexp of rows `(rows, 1)` of 16-bit numbers in float64, read again piece by piece."""
    total = tl.zeros([rows.shape[0]], tl.float64)
    rest = tl.zeros([rows.shape[0]], tl.float64)
    for start in range(0, length, PIECE):
        column = start + tl.arange(0, PIECE)[None, :]
        place = rows.to(tl.int64) * length + column
        x = load(x_ptr, place, (rows < count) & (column < length), False).to(tl.float32)
        _, more, less = sums(x, peak[:, None], LOGSUMEXP, True, 1)
        total += more
        rest += less
    return _total(peak, total, rest, True)


@triton.jit
def load(x_ptr, place, inside, EVEN: tl.constexpr):
    """A part of a row; -inf outside, which adds nothing."""
    return tl.load(x_ptr + place) if EVEN else tl.load(x_ptr + place, mask=inside, other=-float("inf"))


@triton.jit
def store(y_ptr, place, y, inside, dtype: tl.constexpr, EVEN: tl.constexpr, WIDE: tl.constexpr):
    """Results of a part, rounded once: from float64 where WIDE, else from float32."""
    rounded = round_once(y, dtype) if WIDE else y.to(dtype)
    if EVEN:
        tl.store(y_ptr + place, rounded)
    else:
        tl.store(y_ptr + place, rounded, mask=inside)


@triton.jit(do_not_specialize=["count"])
def whole(
    x_ptr,
    y_ptr,
    count,
    length,
    OP: tl.constexpr,
    WIDE: tl.constexpr,
    GROUP: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
    EVEN: tl.constexpr,
    PIECE: tl.constexpr,
):
    """`ROWS` rows of at most `BLOCK` elements; `EVEN` if one row of just as many."""
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    first = tl.program_id(0).to(tl.int64) * ROWS
    here = tl.arange(0, ROWS)
    left = (count - first).to(tl.int32)
    column = tl.arange(0, BLOCK)[None, :]
    inside = (here[:, None] < left) & (column < length)
    # The place of a row is 64 bits wide, that of an element in the tile 32.
    x_ptr += first * length
    place = here[:, None] * (BLOCK if EVEN else length) + column
    x = load(x_ptr, place, inside, EVEN).to(tl.float32)
    peak = row_peak(x)
    if OP == LOG_SOFTMAX and not WIDE:
        total = row_sum(quick_weights(x, peak[:, None]), GROUP)
        logarithm = quick_log(total)
        small = log_is_small(total, dtype)
        if tl.max(small.to(tl.int32), axis=0) > 0:
            # Row by row, so that no row has other bits for its neighbours' sake.
            logarithm = tl.where(small, precise_logarithm(x, peak, OP, GROUP), logarithm)
        y = log_probability(x, (peak + peak * 0.0)[:, None], logarithm[:, None], WIDE)
        store(y_ptr + first * length, place, y, inside, dtype, EVEN, WIDE)
        return
    if OP == SOFTMAX and dtype == tl.bfloat16:
        e = raised_powers(x, peak[:, None])
        share = reciprocal(row_sum(e, GROUP)).to(tl.float32) + peak * 0.0
        store(y_ptr + first * length, place, e * share[:, None], inside, dtype, EVEN, WIDE)
        return
    e, total, rest = sums(x, peak[:, None], OP, WIDE, GROUP)
    if OP == SOFTMAX:
        # An infinite peak, or NaN, makes NaN of the row.
        nothing = (peak * 0.0)[:, None]
        if WIDE:
            y = tl.fma(e, (1.0 / total)[:, None], nothing.to(tl.float64))
        else:
            y = tl.fma(e, reciprocal(total).to(tl.float32)[:, None], nothing)
        store(y_ptr + first * length, place, y, inside, dtype, EVEN, WIDE)
    elif OP == LOG_SOFTMAX:
        logarithm = log1p(rest + (count_twins(total, rest, 1.0) - 1.0))
        y = log_probability(x, (peak + peak * 0.0)[:, None], logarithm[:, None], WIDE)
        store(y_ptr + first * length, place, y, inside, dtype, EVEN, WIDE)
    elif ROWS == 1:
        # Scalars, which the compiler need not bring from one layout to another.
        y = _total(tl.max(peak, axis=0), tl.max(total, axis=0), tl.max(rest, axis=0), WIDE)
        if not WIDE:  # noqa: SIM102 (decided at compile time, the other at run time)
            if is_cancelled(y, dtype):
                y = tl.max(total_exactly(x_ptr, here[:, None], left, length, peak, PIECE), axis=0)
        tl.store(y_ptr + first + here, round_once(y + tl.zeros([1], tl.float64), dtype))
    else:
        y = _total(peak, total, rest, WIDE)
        if not WIDE:
            cancelled = is_cancelled(y, dtype)
            if tl.max(cancelled.to(tl.int32), axis=0) > 0:
                exact = total_exactly(x_ptr, here[:, None], left, length, peak, PIECE)
                # Row by row, so that no row has other bits for its neighbours' sake.
                y = tl.where(cancelled, exact, y)
        tl.store(y_ptr + first + here, round_once(y, dtype), mask=here < left)
