"""layer_norm and rms_norm of 16-bit rows that wait for their sums in registers, four numbers to an int64.

One program has a few short rows, or one row, or a part of a few long ones: then see `exchange`.
"""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

import triton
import triton.language as tl

from stable_ops.ops.triton.exchange import as_double, publish, ticket, words
from stable_ops.ops.triton.norm_filter import results, split
from stable_ops.ops.triton.norm_steps import (
    is_far,
    mean_of,
    root_of,
    slow_rows,
    sum_rows,
)


@triton.jit
def _wide(x, c, inside, FAR: tl.constexpr):
    e = x.to(tl.float64)
    if FAR:
        e = tl.where(inside, e - c[:, None], 0.0)
    return e


@triton.jit
def _sums(fours, c, inside, BF16: tl.constexpr, CENTRE: tl.constexpr, FAR: tl.constexpr):
    """Sums over each row of the numbers less c, and of their squares; what is not inside is 0."""
    x0, x1, x2, x3 = split(fours, BF16)
    e0 = _wide(x0, c, inside, FAR)
    e1 = _wide(x1, c, inside, FAR)
    e2 = _wide(x2, c, inside, FAR)
    e3 = _wide(x3, c, inside, FAR)
    squares = tl.fma(e0, e0, tl.fma(e1, e1, tl.fma(e2, e2, e3 * e3)))
    return sum_rows((e0 + e1) + (e2 + e3), squares, CENTRE)


@triton.jit
def _collect(words_ptr, there, parts, WIDTH: tl.constexpr):
    """Sums of the rows at words_ptr `(rows,)` over their parts; waits for those that are `there`."""
    part = tl.arange(0, WIDTH)[None, :]
    awaited = there[:, None] & (part < parts)
    first = tl.load(words_ptr[:, None] + part, mask=awaited, other=1, volatile=True)
    second = tl.load(words_ptr[:, None] + parts + part, mask=awaited, other=1, volatile=True)
    while tl.min(((first != 0) & (second != 0)).to(tl.int32)) == 0:
        first = tl.load(words_ptr[:, None] + part, mask=awaited, other=1, volatile=True)
        second = tl.load(words_ptr[:, None] + parts + part, mask=awaited, other=1, volatile=True)
    first, second = as_double(first - 1), as_double(second - 1)
    return tl.sum(first, axis=1), tl.sum(second, axis=1)


@triton.jit
def _of_all(first, second, scratch_ptr, row, there, part, parts, WIDTH: tl.constexpr):
    """The sums of the rows from those of this part."""
    place = words(scratch_ptr, row, parts)
    publish(place, part, first, second, parts)
    return _collect(place, there, parts, WIDTH)


@triton.jit(do_not_specialize=["count", "units", "inverse", "nothing", "parts"])
def in_fours(
    x_ptr, w_ptr, b_ptr, y_ptr, scratch_ptr, count, units, inverse, nothing, parts,
    EPS: tl.constexpr, OFFSET: tl.constexpr, CENTRE: tl.constexpr, TWICE: tl.constexpr,
    SCALE: tl.constexpr, SHIFT: tl.constexpr, UNIT: tl.constexpr, EVEN: tl.constexpr, BLOCK: tl.constexpr,
    ROWS: tl.constexpr, STEP: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Rows of `units` times UNIT fours, of which a program has ROWS by BLOCK; in WIDTH parts at most.

    `inverse` has the bits of one over the numbers of a row; `nothing` is 0, which the compiler does not know.
    The scratch is for twice the rows, rounded up to a multiple of ROWS. `EVEN` if nothing of a row is missing
    in any of its blocks.
    """
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    BF16: tl.constexpr = dtype == tl.bfloat16
    fours = tl.pointer_type(tl.int64)
    length = units * UNIT
    n = (4 * length).to(tl.float64)
    one_over_n = inverse.to(tl.int64).to(tl.float64, bitcast=True)
    if WIDTH > 1:
        group, part = ticket(scratch_ptr, parts)
    else:
        group = tl.program_id(0).to(tl.int64)
        part = 0
    row = group * ROWS + tl.arange(0, ROWS)
    there = row < count
    column = part * BLOCK + tl.arange(0, BLOCK)[None, :]
    filled = tl.full([1, BLOCK], 1, tl.int1) if EVEN else column < length
    inside = filled & there[:, None]
    place = row[:, None] * length + column
    x = tl.load(x_ptr.to(fours) + place, mask=inside, other=0)
    c = tl.zeros([ROWS], tl.float64)
    first, second = _sums(x, c, inside, BF16, CENTRE, False)
    if WIDTH > 1:
        first, second = _of_all(first, second, scratch_ptr, row, there, part, parts, WIDTH)
    if CENTRE:
        far = is_far(first, second, n)
        # All parts of a row find the same, so all of them or none exchange their sums again.
        if tl.max(far.to(tl.int32), axis=0) > 0:
            # As a float32, so that no difference from it is rounded.
            c = tl.where(far, (first * one_over_n).to(tl.float32).to(tl.float64), 0.0)
            # As if from elsewhere, or what was unpacked above would be kept for here.
            again = x ^ nothing.to(tl.int64)
            first, second = _sums(again, c, inside, BF16, CENTRE, True)
            if WIDTH > 1:
                top = (count + ROWS - 1) // ROWS * ROWS
                first, second = _of_all(first, second, scratch_ptr, row + top, there, part, parts, WIDTH)
    root, unit, factor, rational = root_of(first, second, n, EPS, CENTRE)
    w = tl.load(w_ptr.to(fours) + column, mask=filled, other=0) if SCALE else tl.zeros([1, BLOCK], tl.int64)
    b = tl.load(b_ptr.to(fours) + column, mask=filled, other=0) if SHIFT else tl.zeros([1, BLOCK], tl.int64)
    mean = mean_of(first, n, one_over_n)
    y = results(x, w, b, c, mean, factor, dtype, OFFSET, CENTRE, TWICE, SCALE, SHIFT)
    tl.store(y_ptr.to(fours) + place, y, mask=inside)
    wrong = there & rational
    if tl.max(wrong.to(tl.int32), axis=0) > 0:
        # What was stored above is stored again.
        tl.debug_barrier()
        begin = part * (4 * BLOCK)
        slow_rows(
            x_ptr, w_ptr, b_ptr, y_ptr,
            (row * (4 * length))[:, None], wrong[:, None], begin, tl.minimum(begin + 4 * BLOCK, 4 * length),
            c, first, root, unit, n, OFFSET, CENTRE, TWICE, SCALE, SHIFT, STEP,
        )  # fmt: skip
