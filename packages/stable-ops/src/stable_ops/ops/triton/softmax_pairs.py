"""The softmax family for long rows of 16-bit numbers, which wait for their sums two to a register.

A row is summed with quick weights, and the numbers, not their weights, are kept until the sum is known: as
int32 that hold a pair each, or every 16-bit number would take a register of its own.
"""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

import triton
import triton.language as tl

from stable_ops.ops.triton.exchange import as_double, collect, publish, ticket, words
from stable_ops.ops.triton.exponentials import (
    INTERPRETED,
    above,
    double_weights,
    forget,
    larger,
    powers,
    quick_log,
    quick_log1p,
    reciprocal,
    row_peak,
    row_sum,
    slope_of,
)
from stable_ops.ops.triton.softmax_rows import (
    LOG_SOFTMAX,
    SOFTMAX,
    count_twins,
    log_is_small,
    log_probability,
    probabilities,
    scale_of,
    subtracted,
    sums,
)

_RAISED = tl.constexpr(64.0)
# Two times -inf.
_NOTHING_BF16 = tl.constexpr(-8323200)
_NOTHING_FP16 = tl.constexpr(-67044352)


@triton.jit
def _unpack(pairs, dtype: tl.constexpr):
    """The first and the second of each pair as float32."""
    if dtype == tl.bfloat16:
        return (pairs << 16).to(tl.float32, bitcast=True), (pairs & -65536).to(tl.float32, bitcast=True)
    else:
        first = pairs.to(tl.int16).to(tl.float16, bitcast=True)
        second = (pairs >> 16).to(tl.int16).to(tl.float16, bitcast=True)
        return first.to(tl.float32), second.to(tl.float32)


@triton.jit
def _pack(first, second, dtype: tl.constexpr):
    """Pairs of float32 rounded to nearest; in one instruction, which the compiler does not find by itself."""
    if INTERPRETED:
        low = first.to(dtype).to(tl.int16, bitcast=True).to(tl.int32) & 0xFFFF
        return low | (second.to(dtype).to(tl.int16, bitcast=True).to(tl.int32) << 16)
    else:
        name: tl.constexpr = "bf16x2" if dtype == tl.bfloat16 else "f16x2"
        return tl.inline_asm_elementwise(
            "cvt.rn." + name + ".f32 $0, $2, $1;", "=r,f,f", [first, second], tl.int32, is_pure=True, pack=1
        )


@triton.jit
def _load_pairs(x_ptr, row, pair, length, count, dtype: tl.constexpr, ALIGNED: tl.constexpr):
    """These pairs of a row; -inf beyond its end, and beyond the last row."""
    if ALIGNED:
        nothing: tl.constexpr = _NOTHING_BF16 if dtype == tl.bfloat16 else _NOTHING_FP16
        inside = (pair < length) & (row + 0 * pair < count)
        return tl.load(x_ptr + row * length + pair, mask=inside, other=nothing)
    else:
        x_ptr += row * length
        inside = (2 * pair < length) & (row + 0 * pair < count)
        first = tl.load(x_ptr + 2 * pair, mask=inside, other=-float("inf"))
        second = tl.load(x_ptr + 2 * pair + 1, mask=inside & (2 * pair + 1 < length), other=-float("inf"))
        low = first.to(tl.int16, bitcast=True).to(tl.int32) & 0xFFFF
        return low | (second.to(tl.int16, bitcast=True).to(tl.int32) << 16)


@triton.jit
def _store_pairs(y_ptr, row, pair, length, pairs, dtype: tl.constexpr, ALIGNED: tl.constexpr):
    y_ptr += row * length
    if ALIGNED:
        tl.store(y_ptr + pair, pairs, mask=pair < length)
    else:
        first = pairs.to(tl.int16).to(dtype, bitcast=True)
        second = (pairs >> 16).to(tl.int16).to(dtype, bitcast=True)
        tl.store(y_ptr + 2 * pair, first, mask=2 * pair < length)
        tl.store(y_ptr + 2 * pair + 1, second, mask=2 * pair + 1 < length)


@triton.jit
def _quick_sum(pairs, dtype: tl.constexpr, GROUP: tl.constexpr):
    """Peak and sum, both scalars, of pairs `(1, n)`."""
    first, second = _unpack(pairs, dtype)
    own = tl.max(row_peak(larger(first, second)), axis=0)
    peak = subtracted(own)
    slope = slope_of(peak)
    reference = peak * slope
    first, second = _unpack(forget(pairs), dtype)
    e = powers(first, slope, reference) + powers(second, slope, reference)
    return own, tl.max(row_sum(e, GROUP // 2), axis=0) * above(reference, peak, slope)


@triton.jit
def _probabilities_bf16(pairs, peak, total):
    """With exponents 64 too large, so that none that matters is above 64: 2^-18.2 off before the rounding."""
    first, second = _unpack(pairs, tl.bfloat16)
    slope = slope_of(peak)
    reference = tl.fma(peak, slope, -_RAISED)
    share = (reciprocal(total) * above(reference, peak, slope)).to(tl.float32) + peak * 0.0
    return powers(first, slope, reference) * share, powers(second, slope, reference) * share


@triton.jit
def _finish(pairs, peak, total, logarithm, OP: tl.constexpr, dtype: tl.constexpr):
    if OP == SOFTMAX and dtype == tl.bfloat16:
        first, second = _probabilities_bf16(pairs, peak, total)
    else:
        first, second = _unpack(pairs, dtype)
        if OP == SOFTMAX:
            first = probabilities(first, peak, total, dtype)
            second = probabilities(second, peak, total, dtype)
        else:
            first = log_probability(first, peak + peak * 0.0, logarithm, False)
            second = log_probability(second, peak + peak * 0.0, logarithm, False)
    return _pack(first, second, dtype)


@triton.jit
def _without_peaks(
    x_ptr, row, start, peak, length, count, dtype: tl.constexpr, BLOCK: tl.constexpr, PIECE: tl.constexpr,
    GROUP: tl.constexpr, ALIGNED: tl.constexpr,
):  # fmt: skip
    """Sum of the weights below the peak, and how many peaks there are, of a block that is read again.

    Piece by piece, so that those who need it do not take the registers of those who do not.
    """
    totals = tl.zeros([1], tl.float64)
    rests = tl.zeros([1], tl.float64)
    for offset in range(0, BLOCK // 2, PIECE):
        pair = start + offset + tl.arange(0, PIECE)[None, :]
        pairs = _load_pairs(x_ptr, row, pair, length, count, dtype, ALIGNED)
        first, second = _unpack(pairs, dtype)
        _, total, rest = sums(first, peak, LOG_SOFTMAX, False, GROUP)
        _, total_2, rest_2 = sums(second, peak, LOG_SOFTMAX, False, GROUP)
        totals += total + total_2
        rests += rest + rest_2
    scale = scale_of(peak, peak, LOG_SOFTMAX, False)
    total, rest = tl.max(totals, axis=0) * scale, tl.max(rests, axis=0) * scale
    return rest, count_twins(total, rest, 1.0)


@triton.jit
def _hear(place, parts, WIDTH: tl.constexpr):
    """The row's peak, and its sum relative to it."""
    first, second = collect(place, parts, WIDTH)
    peaks = tl.where(tl.arange(0, WIDTH) < parts, as_double(first).to(tl.float32), -float("inf"))
    peak = tl.reduce(peaks, 0, larger)
    scales = tl.where(peaks == -float("inf"), 0.0, double_weights(peaks, peak))
    return peak, tl.sum(as_double(second) * scales, axis=0)


@triton.jit(do_not_specialize=["count", "parts"])
def pairs_in_parts(
    x_ptr,
    y_ptr,
    scratch_ptr,
    count,
    parts,
    length,
    OP: tl.constexpr,
    GROUP: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDTH: tl.constexpr,
    PIECE: tl.constexpr,
    BF16: tl.constexpr,
    ALIGNED: tl.constexpr,
):
    """A part of a row, `BLOCK` elements; the scratch has the words of two exchanges for each row.

    The second is for small logarithms.
    """
    dtype: tl.constexpr = tl.bfloat16 if BF16 else tl.float16
    row, part = ticket(scratch_ptr, parts)
    pair = part * (BLOCK // 2) + tl.arange(0, BLOCK // 2)[None, :]
    pairs = _load_pairs(x_ptr, row, pair, length, count, dtype, ALIGNED)
    own, total = _quick_sum(pairs, dtype, GROUP)
    place = words(scratch_ptr, 2 * row, parts)
    publish(place, part, own.to(tl.float64), total, parts)
    peak, total = _hear(place, parts, WIDTH)
    logarithm = total
    if OP == LOG_SOFTMAX:
        logarithm = quick_log(total)
        if log_is_small(total, dtype):
            start = part * (BLOCK // 2)
            rest, twins = _without_peaks(
                x_ptr, row, start, peak, length, count, dtype, BLOCK, PIECE, GROUP, ALIGNED
            )
            publish(place + 2 * parts, part, twins, rest, parts)
            first, second = collect(place + 2 * parts, parts, WIDTH)
            peaks = tl.sum(as_double(first), axis=0)
            logarithm = quick_log1p(tl.sum(as_double(second), axis=0) + (peaks - 1.0))
    y = _finish(forget(pairs), peak, total, logarithm, OP, dtype)
    _store_pairs(y_ptr, row, pair, length, y, dtype, ALIGNED)
