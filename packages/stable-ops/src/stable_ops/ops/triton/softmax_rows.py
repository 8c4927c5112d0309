"""The kernels of the softmax family: whole rows, and rows in parts over several programs.

A row is read once: its peak, the weights of its elements, their sum, and out of these its results. For
float32 (`WIDE`) everything is float64. For 16 bits there are float32 weights (see `exponentials`):

- softmax: weight times 1/sum, 2 * 2^-23.4 + log2(GROUP) 2^-24 + 2^-23 off before the rounding.
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
from stable_ops.ops.triton.exchange import as_double, collect, publish, ticket, words
from stable_ops.ops.triton.exponentials import (
    double,
    double_exp,
    double_weights,
    larger,
    lifted_weights,
    origin,
    quick_log,
    quick_log1p,
    quick_weights,
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


@triton.jit
def _sums(x, peak, OP: tl.constexpr, WIDE: tl.constexpr, GROUP: tl.constexpr):
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
def _scale(own, peak, OP: tl.constexpr, WIDE: tl.constexpr):
    """What makes exp(x - peak), in float64, of weights that were taken with a peak of their own."""
    if WIDE or OP == LOGSUMEXP:
        scale = double_weights(own, peak)
    else:
        base, shift = origin(own)
        exponent = base.to(tl.float64) - peak.to(tl.float64)
        scale = double_exp(tl.fma(shift.to(tl.float64), double(_LN2), exponent)) * _UNLIFT
    return tl.where(own == -float("inf"), 0.0, scale)


@triton.jit
def _twins(total, rest, scale):
    """How often the peak is there: the sums differ by that, up to their errors."""
    return tl.floor((total - rest) * scale + 0.5)


@triton.jit
def _logarithm(others, WIDE: tl.constexpr):
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
def _is_cancelled(y, dtype: tl.constexpr):
    return tl.abs(y) < (_CANCELLED_BF16 if dtype == tl.bfloat16 else _CANCELLED)


@triton.jit
def _total(peak, total, rest, WIDE: tl.constexpr):
    """logsumexp of what was summed relative to the peak."""
    return plus_peak(peak, log1p(rest + (_twins(total, rest, 1.0) - 1.0)) if WIDE else quick_log(total))


@triton.jit
def _total_exactly(x_ptr, rows, count, length, peak, PIECE: tl.constexpr):
    """logsumexp of rows `(rows, 1)` of 16-bit numbers in float64, read again piece by piece."""
    total = tl.zeros([rows.shape[0]], tl.float64)
    rest = tl.zeros([rows.shape[0]], tl.float64)
    for start in range(0, length, PIECE):
        column = start + tl.arange(0, PIECE)[None, :]
        place = rows.to(tl.int64) * length + column
        x = load(x_ptr, place, (rows < count) & (column < length), False)
        _, more, less = _sums(x, peak[:, None], LOGSUMEXP, True, 1)
        total += more
        rest += less
    return _total(peak, total, rest, True)


@triton.jit
def load(x_ptr, place, inside, EVEN: tl.constexpr):
    x = tl.load(x_ptr + place) if EVEN else tl.load(x_ptr + place, mask=inside, other=-float("inf"))
    return x.to(tl.float32)


@triton.jit
def _store(y_ptr, place, y, inside, dtype: tl.constexpr, EVEN: tl.constexpr, WIDE: tl.constexpr):
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
    x = load(x_ptr, place, inside, EVEN)
    peak = row_peak(x)
    e, total, rest = _sums(x, peak[:, None], OP, WIDE, GROUP)
    if OP == SOFTMAX:
        # An infinite peak, or NaN, makes NaN of the row.
        nothing = (peak * 0.0)[:, None]
        if WIDE:
            y = tl.fma(e, (1.0 / total)[:, None], nothing.to(tl.float64))
        else:
            y = tl.fma(e, reciprocal(total)[:, None], nothing)
        _store(y_ptr + first * length, place, y, inside, dtype, EVEN, WIDE)
    elif OP == LOG_SOFTMAX:
        scale = _scale(peak, peak, OP, WIDE)
        logarithm = _logarithm(rest * scale + (_twins(total, rest, scale) - 1.0), WIDE)
        y = log_probability(x, (peak + peak * 0.0)[:, None], logarithm[:, None], WIDE)
        _store(y_ptr + first * length, place, y, inside, dtype, EVEN, WIDE)
    elif ROWS == 1:
        # Scalars, which the compiler need not bring from one layout to another.
        y = _total(tl.max(peak, axis=0), tl.max(total, axis=0), tl.max(rest, axis=0), WIDE)
        if not WIDE:  # noqa: SIM102 (decided at compile time, the other at run time)
            if _is_cancelled(y, dtype):
                y = tl.max(_total_exactly(x_ptr, here[:, None], left, length, peak, PIECE), axis=0)
        tl.store(y_ptr + first + here, round_once(y + tl.zeros([1], tl.float64), dtype))
    else:
        y = _total(peak, total, rest, WIDE)
        if not WIDE:
            cancelled = _is_cancelled(y, dtype)
            if tl.max(cancelled.to(tl.int32), axis=0) > 0:
                exact = _total_exactly(x_ptr, here[:, None], left, length, peak, PIECE)
                # Row by row, so that no row has other bits for its neighbours' sake.
                y = tl.where(cancelled, exact, y)
        tl.store(y_ptr + first + here, round_once(y, dtype), mask=here < left)


@triton.jit
def _to_word(peak, twins):
    """The count above the bits of a float32 peak."""
    return (tl.cast(twins, tl.int64) << 32) | (peak.to(tl.int32, bitcast=True).to(tl.int64) & 0xFFFFFFFF)


@triton.jit(do_not_specialize=["parts"])
def in_parts(
    x_ptr,
    y_ptr,
    scratch_ptr,
    parts,
    length,
    OP: tl.constexpr,
    WIDE: tl.constexpr,
    GROUP: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDTH: tl.constexpr,
    EVEN: tl.constexpr,
    PIECE: tl.constexpr,
):
    """One part, `BLOCK` elements, of a row that `parts` programs share; `EVEN` if it is as long as that."""
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    row, part = ticket(scratch_ptr, parts)
    x_ptr += row * length
    column = part * BLOCK + tl.arange(0, BLOCK)[None, :]
    inside = column < length
    x = load(x_ptr, column, inside, EVEN)
    own = tl.max(row_peak(x), axis=0)
    reference = subtracted(own)
    e, total, rest = _sums(x, reference, OP, WIDE, GROUP)
    total, rest = tl.max(total, axis=0), tl.max(rest, axis=0)
    here = words(scratch_ptr, row, parts)
    twins = 0
    if OP == LOG_SOFTMAX or (OP == LOGSUMEXP and WIDE):
        twins = _twins(total, rest, _scale(reference, reference, OP, WIDE)).to(tl.int32)
    publish(here, part, _to_word(own, twins), rest, parts)
    first, second = collect(here, parts, WIDTH)
    numbers = tl.arange(0, WIDTH)
    peaks = tl.where(numbers < parts, first.to(tl.int32).to(tl.float32, bitcast=True), -float("inf"))
    peak = tl.reduce(peaks, 0, larger)
    scales = _scale(peaks, peak, OP, WIDE)
    rest = tl.sum(as_double(second) * scales, axis=0)
    if OP == SOFTMAX:
        factor = tl.sum(tl.where(numbers == part, scales, 0.0), axis=0) / rest
        if WIDE:
            y = tl.fma(e, factor, (peak * 0.0).to(tl.float64))
        else:
            y = tl.fma(e, factor.to(tl.float32), peak * 0.0)
        _store(y_ptr + row * length, column, y, inside, dtype, EVEN, WIDE)
    elif OP == LOG_SOFTMAX or WIDE:
        # Peaks of parts that are lower than the row's are no longer counted but summed.
        twins = (first >> 32).to(tl.float64)
        lower = double_weights(peaks, peak) * twins
        rest += tl.sum(tl.where(peaks < peak, lower, 0.0), axis=0)
        logarithm = _logarithm(rest + (tl.sum(tl.where(peaks == peak, twins, 0.0), axis=0) - 1.0), WIDE)
        if OP == LOG_SOFTMAX:
            y = log_probability(x, peak + peak * 0.0, logarithm, WIDE)
            _store(y_ptr + row * length, column, y, inside, dtype, EVEN, WIDE)
        elif part == 0:
            tl.store(y_ptr + row + tl.arange(0, 1), round_once(plus_peak(peak, logarithm), dtype))
    elif part == 0:
        y = plus_peak(peak, quick_log(rest))
        if _is_cancelled(y, dtype):
            one = tl.zeros([1, 1], tl.int32)
            y = tl.max(_total_exactly(x_ptr, one, 1, length, peak + tl.zeros([1], tl.float32), PIECE), axis=0)
        tl.store(y_ptr + row + tl.arange(0, 1), round_once(y + tl.zeros([1], tl.float64), dtype))
