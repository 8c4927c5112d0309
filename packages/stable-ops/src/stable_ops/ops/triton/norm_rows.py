"""The kernels of layer_norm and rms_norm: float64 inside, few conversions.

With c the first number of a row and e = x - c, the sums of e and e^2 are taken in one pass, and the variance
times n^2 is n sum(e^2) - sum(e)^2. That cancels where c is far from the mean; such rows are summed again
about the mean itself. All sums are float64, and their order depends on the length of a row alone.

A 16-bit result is made from the bits of y 2^-896, whose exponent field is that of a float32 y: cut off after
21 bits, with a last bit set for what was cut, and rounded by the hardware. Something always was cut: the
result is rational, and so possibly a tie of the format, only where the root is. Rows where float64 finds the
root exact, and rows with an infinity, a NaN or an overflow among their results, are done again with a
division and a rounding that looks at all bits.
"""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

import os

import triton
import triton.language as tl

from stable_ops.ops.triton.arithmetic import round_once
from stable_ops.ops.triton.exchange import as_double, collect, publish, ticket, words

# The interpreter calls Python for each pair of a reduction that numpy does not know.
_INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
_DOWN = tl.constexpr(2.0**-896)
# The high word of 2^128 2^-896, read as a float32.
_OVERFLOW = tl.constexpr(1.875 * 2.0**-96)
# Keep the square of the root from overflow beside a huge eps, and from vanishing beside a tiny one.
_HUGE_EPS = tl.constexpr(1e150)
# (mean - c)^2 in variances, from which on a row is summed again.
_FAR = tl.constexpr(16.0)


@triton.jit
def double(value: tl.constexpr):
    """A float64 constant; the language makes float32 of a literal."""
    return tl.full([1], value, tl.float64)


@triton.jit
def _narrow(small, dtype: tl.constexpr, STICKY: tl.constexpr):
    """y 2^-896 to 16 bits with one rounding, and a float32 at least `_OVERFLOW` or NaN where that went wrong.

    Below 2^-126 y is cut at 2^-178 first, far below half of the least subnormal number.
    """
    whole = small.to(tl.int64, bitcast=True)
    high = (whole >> 32).to(tl.int32)
    # Nothing is cut off the product of two float16 numbers, which may have 22 bits.
    cut = high * 8 + STICKY if STICKY else (whole >> 29).to(tl.int32)
    bits = (cut & 0x7FFFFFFF) | (high & -0x80000000)
    return bits.to(tl.float32, bitcast=True).to(dtype), tl.abs(high.to(tl.float32, bitcast=True))


@triton.jit
def _worse(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _worst(alarm):
    """The largest of a tile, NaN if one is."""
    if _INTERPRETED:
        worst = tl.max(tl.where(alarm == alarm, alarm, float("inf")))
    else:
        worst = tl.reduce(alarm, None, _worse)
    return worst


@triton.jit
def _add_pairs(a, b, c, d):
    return a + c, b + d


@triton.jit
def _sum_rows(first, second, CENTRE: tl.constexpr):
    """Both sums over the columns; without CENTRE the first is not used."""
    if not CENTRE:
        second = tl.sum(second, axis=1)
        first = second
    elif _INTERPRETED:
        first = tl.sum(first, axis=1)
        second = tl.sum(second, axis=1)
    else:
        first, second = tl.reduce((first, second), 1, _add_pairs)
    return first, second


@triton.jit
def _is_far(first, second, n):
    return n * second * _FAR < (_FAR + 1) * first * first


@triton.jit
def _root(first, second, n, EPS: tl.constexpr, CENTRE: tl.constexpr):
    """n times the root times a power of two, that power, the root's inverse, is the root exact in float64."""
    unit = double(2.0**-80 if EPS > _HUGE_EPS else 2.0**80)
    total = n * second
    if CENTRE:
        total -= first * first
    square = total * unit * unit + double(EPS) * (n * unit) * (n * unit)
    inverse = tl.rsqrt(square)
    root = square * inverse
    root = tl.fma(inverse * 0.5, tl.fma(-root, root, square), root)
    rational = tl.fma(root, root, -square) == 0
    root = tl.where(square == float("inf"), square, root)
    return root, unit, n * unit * inverse, rational


@triton.jit
def _again(ptr, place, inside):
    """Read once more, from the first cache; the modifier keeps the compiler from holding what it had."""
    return tl.load(ptr + place, mask=inside, other=0.0, cache_modifier=".ca").to(tl.float64)


@triton.jit
def _small(b):
    """b 2^-896 of a 16-bit b; an infinity or NaN becomes a number that `_narrow` reports."""
    bits = b.to(tl.float32).to(tl.int32, bitcast=True)
    high = (bits >> 3) & -0x70000001
    return (high.to(tl.int64) << 32).to(tl.float64, bitcast=True)


@triton.jit
def _weight(w, OFFSET: tl.constexpr):
    w = w.to(tl.float64)
    if OFFSET != 0.0:
        w += double(OFFSET)
    return w


@triton.jit
def _quick(
    e, w, b, factor, dtype: tl.constexpr,
    OFFSET: tl.constexpr, TWICE: tl.constexpr, SCALE: tl.constexpr, SHIFT: tl.constexpr,
):  # fmt: skip
    """The rounded results for a factor that is not rational, and an alarm (see `_narrow`)."""
    alarm = tl.full([1, 1], 0.0, tl.float32)
    narrow: tl.constexpr = dtype != tl.float32
    # Whether the last rounding is of a number that may be a tie in spite of the factor.
    plain: tl.constexpr = (
        narrow and not (SHIFT and b.dtype != dtype) and not (TWICE and (OFFSET != 0.0 or w.dtype != dtype))
    )
    if TWICE:
        if narrow:
            e, alarm = _narrow(e * (factor * double(_DOWN)), dtype, 1)
        else:
            e = (e * factor).to(tl.float32)
        y = e.to(tl.float64)
        factor = double(1.0)
    else:
        y = e
    if SCALE:
        y *= _weight(w, OFFSET)
    if plain:
        factor = factor * double(_DOWN)
    y = y * factor
    if SHIFT:
        y += _small(b) if plain else b.to(tl.float64)
    if plain:
        # The product of two 16-bit numbers is exact, with nothing cut off.
        y, more = _narrow(y, dtype, 0 if TWICE else 1)
        alarm = _worse(alarm, more)
    else:
        y = round_once(y, dtype)
    return y, alarm


@triton.jit
def _read_sums(
    x_ptr, place, there, c, begin, end,
    CENTRE: tl.constexpr, EVEN: tl.constexpr, ROWS: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """Both sums over columns from begin to end of rows that begin at `place` (ROWS, 1), STEP at a time."""
    column = tl.arange(0, STEP)[None, :]
    first = tl.full([ROWS, STEP], 0.0, tl.float64)
    second = tl.full([ROWS, STEP], 0.0, tl.float64)
    for start in range(begin, end, STEP):
        inside = there if EVEN else there & (start + column < end)
        e = tl.load(x_ptr + (place + start + column), mask=inside, other=0.0).to(tl.float64)
        if CENTRE:
            e -= c[:, None]
            if not EVEN:
                e = tl.where(inside, e, 0.0)
            first += e
        second += e * e
    return _sum_rows(first, second, CENTRE)


@triton.jit
def _slow_rows(
    x_ptr, w_ptr, b_ptr, y_ptr, place, there, begin, end, c, first, root, unit, n,
    OFFSET: tl.constexpr, CENTRE: tl.constexpr, TWICE: tl.constexpr, SCALE: tl.constexpr, SHIFT: tl.constexpr,
    STEP: tl.constexpr,
):  # fmt: skip
    """Results with one division, after all that is exact if the root is, for the rows that are `there`."""
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    column = tl.arange(0, STEP)[None, :]
    for start in range(begin, end, STEP):
        inside = start + column < end
        y = tl.load(x_ptr + (place + start + column), mask=there & inside, other=0.0).to(tl.float64)
        if CENTRE:
            y = n * (y - c[:, None]) - first[:, None]
        else:
            y *= n
        if TWICE:
            y = round_once(y * unit / root[:, None], dtype).to(tl.float64)
        if SCALE:
            y *= _weight(tl.load(w_ptr + start + column, mask=inside, other=0.0), OFFSET)
        if not TWICE:
            y = y * unit / root[:, None]
        if SHIFT:
            y += tl.load(b_ptr + start + column, mask=inside, other=0.0).to(tl.float64)
        tl.store(y_ptr + (place + start + column), round_once(y, dtype), mask=there & inside)


@triton.jit(do_not_specialize=["count"])
def tiles(
    x_ptr, w_ptr, b_ptr, y_ptr, count, length,
    EPS: tl.constexpr, OFFSET: tl.constexpr, CENTRE: tl.constexpr, TWICE: tl.constexpr,
    SCALE: tl.constexpr, SHIFT: tl.constexpr, EVEN: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
    STEP: tl.constexpr, RELOAD: tl.constexpr,
):  # fmt: skip
    """Tiles of ROWS whole rows, one after the other; the next one is on its way while one is worked on."""
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    n = double(0.0) + length  # a length of one is no tensor
    one_over_n = 1.0 / n
    row = tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)[None, :]
    base = row[:, None] * length
    place = base + column
    filled = column < length
    step = tl.num_programs(0).to(tl.int64) * ROWS
    start = tl.program_id(0).to(tl.int64) * ROWS
    x_ptr += start * length
    y_ptr += start * length
    left = count - start
    there = row < left
    inside = there[:, None] if EVEN else there[:, None] & filled
    next_x = tl.load(x_ptr + place, mask=inside, other=0.0)
    next_c = tl.load(x_ptr + row * length, mask=there, other=0.0)
    while left > 0:
        there = row < left
        inside = there[:, None] if EVEN else there[:, None] & filled
        x = next_x
        c = next_c.to(tl.float64)
        left -= step
        following = row < left
        ahead = following[:, None] if EVEN else following[:, None] & filled
        next_x = tl.load(x_ptr + step * length + place, mask=ahead, other=0.0)
        next_c = tl.load(x_ptr + step * length + row * length, mask=following, other=0.0)
        e = x.to(tl.float64)
        if CENTRE:
            e -= c[:, None]
            if not EVEN:
                e = tl.where(filled, e, 0.0)
        first, second = _sum_rows(e, e * e, CENTRE)
        if CENTRE:
            far = _is_far(first, second, n)
            if tl.max(far.to(tl.int32), axis=0) > 0:
                # As a float32, so that no difference from it is rounded.
                c = tl.where(far, (c + first * one_over_n).to(tl.float32).to(tl.float64), c)
                first, second = _read_sums(
                    x_ptr, base, there[:, None], c, 0, length, CENTRE, False, ROWS, STEP
                )
        root, unit, factor, rational = _root(first, second, n, EPS, CENTRE)
        # Here, not before the loop, where their float64 forms would be kept in registers.
        w = tl.load(w_ptr + column, mask=filled, other=0.0)
        b = tl.load(b_ptr + column, mask=filled, other=0.0)
        if RELOAD:
            e = _again(x_ptr, place, inside)
            if CENTRE:
                e -= c[:, None]
        elif CENTRE:
            e = x.to(tl.float64) - c[:, None]
        if CENTRE:
            e -= (first * one_over_n)[:, None]
        y, alarm = _quick(e, w, b, factor[:, None], dtype, OFFSET, TWICE, SCALE, SHIFT)
        tl.store(y_ptr + place, y, mask=inside)
        alarm = tl.where(rational[:, None], 1.0, alarm)
        if not (_worst(alarm) < _OVERFLOW):
            # Those rows alone: a row has the same bits whoever its neighbours are.
            wrong = tl.max(tl.where(alarm < _OVERFLOW, 0, 1), axis=1)
            wrong = there[:, None] & (wrong > 0)[:, None]
            _slow_rows(
                x_ptr, w_ptr, b_ptr, y_ptr, base, wrong, 0, length, c, first, root, unit, n,
                OFFSET, CENTRE, TWICE, SCALE, SHIFT, STEP,
            )  # fmt: skip
        x_ptr += step * length
        y_ptr += step * length


@triton.jit
def _of_all_parts(scratch_ptr, row, part, parts, first, second, WIDTH: tl.constexpr):
    """Sums over the row from those over each part, in the order of the parts."""
    place = words(scratch_ptr, row, parts)
    publish(place, part, tl.sum(first, axis=0), tl.sum(second, axis=0), parts)
    firsts, seconds = collect(place, parts, WIDTH)
    zero = double(0.0)
    return zero + tl.sum(as_double(firsts), axis=0), zero + tl.sum(as_double(seconds), axis=0)


@triton.jit(do_not_specialize=["count"])
def streams(
    x_ptr, w_ptr, b_ptr, y_ptr, scratch_ptr, count, length, parts,
    EPS: tl.constexpr, OFFSET: tl.constexpr, CENTRE: tl.constexpr, TWICE: tl.constexpr,
    SCALE: tl.constexpr, SHIFT: tl.constexpr, EVEN: tl.constexpr, BLOCK: tl.constexpr, PART: tl.constexpr,
    WIDTH: tl.constexpr,
):  # fmt: skip
    """A row, or with WIDTH > 1 a part of one, read twice: from memory, then from the first cache.

    The scratch of `exchange` is for 2 count rows.
    """
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    n = double(0.0) + length  # a length of one is no tensor
    if WIDTH > 1:
        row, part = ticket(scratch_ptr, parts)
        begin = part * PART
        end = tl.minimum(begin + PART, length)
    else:
        row = tl.program_id(0).to(tl.int64)
        part = 0
        begin = 0
        end = length
    x_ptr += row * length
    y_ptr += row * length
    column = tl.arange(0, BLOCK)[None, :]
    c = tl.load(x_ptr + tl.arange(0, 1)).to(tl.float64)
    base = tl.full([1, 1], 0, tl.int32)
    there = tl.full([1, 1], 1, tl.int1)
    first, second = _read_sums(x_ptr, base, there, c, begin, end, CENTRE, EVEN, 1, BLOCK)
    if WIDTH > 1:
        first, second = _of_all_parts(scratch_ptr, row, part, parts, first, second, WIDTH)
    if CENTRE:  # noqa: SIM102 (decided at compile time, the other at run time)
        # All parts find the same, so all of them or none exchange their sums again.
        if tl.max(_is_far(first, second, n).to(tl.int32), axis=0) > 0:
            c = (c + first / n).to(tl.float32).to(tl.float64)
            first, second = _read_sums(x_ptr, base, there, c, begin, end, CENTRE, EVEN, 1, BLOCK)
            if WIDTH > 1:
                first, second = _of_all_parts(scratch_ptr, row + count, part, parts, first, second, WIDTH)
    root, unit, factor, rational = _root(first, second, n, EPS, CENTRE)
    mean = first / n
    worst = tl.where(rational, 1.0, 0.0)[:, None] + tl.full([1, BLOCK], 0.0, tl.float32)
    for start in range(begin, end, BLOCK):
        place = start + column
        inside = tl.full([1, BLOCK], 1, tl.int1) if EVEN else place < end
        w = tl.load(w_ptr + place, mask=inside, other=0.0)
        b = tl.load(b_ptr + place, mask=inside, other=0.0)
        e = tl.load(x_ptr + place, mask=inside, other=0.0).to(tl.float64)
        if CENTRE:
            e = (e - c[:, None]) - mean[:, None]
        y, alarm = _quick(e, w, b, factor[:, None], dtype, OFFSET, TWICE, SCALE, SHIFT)
        tl.store(y_ptr + place, y, mask=inside)
        worst = _worse(worst, alarm)
    # With parts, each does again its own: the results are the same for an irrational root.
    if not (_worst(worst) < _OVERFLOW):
        _slow_rows(
            x_ptr, w_ptr, b_ptr, y_ptr, base, there, begin, end, c, first, root, unit, n,
            OFFSET, CENTRE, TWICE, SCALE, SHIFT, BLOCK,
        )  # fmt: skip
