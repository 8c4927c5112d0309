"""layer_norm and rms_norm with whole rows to a program: tiles in registers, or a row read twice."""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

import triton
import triton.language as tl

from stable_ops.ops.triton.norm_steps import (
    OVERFLOW,
    finish_row,
    is_far,
    mean_of,
    quick,
    read_sums,
    root_of,
    slow_rows,
    sum_rows,
    worst_of,
)


@triton.jit(do_not_specialize=["count", "units"])
def tiles(
    x_ptr, w_ptr, b_ptr, y_ptr, count, units,
    EPS: tl.constexpr, OFFSET: tl.constexpr, CENTRE: tl.constexpr, TWICE: tl.constexpr,
    SCALE: tl.constexpr, SHIFT: tl.constexpr, UNIT: tl.constexpr, EVEN: tl.constexpr, BLOCK: tl.constexpr,
    ROWS: tl.constexpr, STEP: tl.constexpr, RELOAD: tl.constexpr,
):  # fmt: skip
    """Tiles of ROWS whole rows, one after the other; the next one is on its way while one is worked on."""
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    length = units * UNIT  # so that the compiler knows by what it is divisible
    n = length.to(tl.float64)
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
    inside = (row < left)[:, None] if EVEN else (row < left)[:, None] & filled
    ahead = tl.load(x_ptr + place, mask=inside, other=0.0)
    while left > 0:
        there = (row < left)[:, None]
        inside = there if EVEN else there & filled
        x = ahead
        left -= step
        following = (row < left)[:, None] if EVEN else (row < left)[:, None] & filled
        ahead = tl.load(x_ptr + step * length + place, mask=following, other=0.0)
        e = x.to(tl.float64)
        first, second = sum_rows(e, e * e, CENTRE)
        c = first * 0.0
        if CENTRE:
            far = is_far(first, second, n)
            if tl.max(far.to(tl.int32), axis=0) > 0:
                # As a float32, so that no difference from it is rounded.
                c = tl.where(far, (first * one_over_n).to(tl.float32).to(tl.float64), 0.0)
                first, second = read_sums(x_ptr, base, there, c, 0, length, CENTRE, True, False, ROWS, STEP)
        root, unit, factor, rational = root_of(first, second, n, EPS, CENTRE)
        # Here, not before the loop, where their float64 forms would be kept in registers.
        w = tl.load(w_ptr + column, mask=filled, other=0.0)
        b = tl.load(b_ptr + column, mask=filled, other=0.0)
        if RELOAD:
            e = tl.load(x_ptr + place, mask=inside, other=0.0, cache_modifier=".ca").to(tl.float64)
        else:
            e = x.to(tl.float64)
        if CENTRE:
            # Where c is 0 the first difference changes nothing.
            e = (e - c[:, None]) - mean_of(first, n, one_over_n)[:, None]
        y, alarm = quick(e, w, b, factor[:, None], dtype, OFFSET, TWICE, SCALE, SHIFT)
        tl.store(y_ptr + place, y, mask=inside)
        alarm = tl.where(rational[:, None], 1.0, alarm)
        if not (worst_of(alarm) < OVERFLOW):
            # Those rows alone: a row has the same bits whoever its neighbours are.
            wrong = there & (tl.max(tl.where(alarm < OVERFLOW, 0, 1), axis=1) > 0)[:, None]
            slow_rows(
                x_ptr, w_ptr, b_ptr, y_ptr, base, wrong, 0, length, c, first, root, unit, n,
                OFFSET, CENTRE, TWICE, SCALE, SHIFT, STEP,
            )  # fmt: skip
        x_ptr += step * length
        y_ptr += step * length


@triton.jit(do_not_specialize=["count", "units"])
def streams(
    x_ptr, w_ptr, b_ptr, y_ptr, count, units,
    EPS: tl.constexpr, OFFSET: tl.constexpr, CENTRE: tl.constexpr, TWICE: tl.constexpr,
    SCALE: tl.constexpr, SHIFT: tl.constexpr, UNIT: tl.constexpr, EVEN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A row to a program, read twice: from memory, then from the first cache."""
    length = units * UNIT
    n = length.to(tl.float64)
    row = tl.program_id(0).to(tl.int64)
    x_ptr += row * length
    y_ptr += row * length
    base = tl.full([1, 1], 0, tl.int32)
    c = tl.full([1], 0.0, tl.float64)
    first, second = read_sums(x_ptr, base, base == 0, c, 0, length, CENTRE, False, EVEN, 1, BLOCK)
    far = False
    if CENTRE:
        far = tl.max(is_far(first, second, n).to(tl.int32), axis=0) > 0
        if far:
            # As a float32, so that no difference from it is rounded.
            c = (first / n).to(tl.float32).to(tl.float64)
            first, second = read_sums(x_ptr, base, base == 0, c, 0, length, CENTRE, True, EVEN, 1, BLOCK)
    finish_row(
        x_ptr, w_ptr, b_ptr, y_ptr, 0, length, c, far, first, second, n,
        EPS, OFFSET, CENTRE, TWICE, SCALE, SHIFT, EVEN, BLOCK,
    )  # fmt: skip
