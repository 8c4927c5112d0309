"""layer_norm and rms_norm of 16-bit rows that are read twice, the second time from a cache."""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

import triton
import triton.language as tl

from stable_ops.ops.triton.norm_filter import results, split
from stable_ops.ops.triton.norm_steps import is_far, mean_of, read_sums, root_of, slow_rows, sum_rows


@triton.jit
def _squares(a, b, c, d):
    return tl.fma(a, a, tl.fma(b, b, tl.fma(c, c, d * d)))


@triton.jit(do_not_specialize=["count", "units", "inverse"])
def fours_twice(
    x_ptr, w_ptr, b_ptr, y_ptr, count, units, inverse,
    EPS: tl.constexpr, OFFSET: tl.constexpr, CENTRE: tl.constexpr, TWICE: tl.constexpr,
    SCALE: tl.constexpr, SHIFT: tl.constexpr, UNIT: tl.constexpr, EVEN: tl.constexpr, BLOCK: tl.constexpr,
    ROWS: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """ROWS rows of `units` times UNIT fours, BLOCK of each at a time; `EVEN` if a row is whole blocks.

    `inverse` has the bits of one over the numbers of a row.
    """
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    BF16: tl.constexpr = dtype == tl.bfloat16
    fours = tl.pointer_type(tl.int64)
    length = units * UNIT
    n = (4 * length).to(tl.float64)
    one_over_n = inverse.to(tl.int64).to(tl.float64, bitcast=True)
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    there = row < count
    column = tl.arange(0, BLOCK)[None, :]
    place = row[:, None] * length + column
    filled = tl.full([1, BLOCK], 1, tl.int1)
    first = tl.zeros([ROWS, BLOCK], tl.float64)
    second = tl.zeros([ROWS, BLOCK], tl.float64)
    for start in range(0, length, BLOCK):
        if not EVEN:
            filled = start + column < length
        x = tl.load(x_ptr.to(fours) + (place + start), mask=there[:, None] & filled, other=0)
        x0, x1, x2, x3 = split(x, BF16)
        e0, e1, e2, e3 = x0.to(tl.float64), x1.to(tl.float64), x2.to(tl.float64), x3.to(tl.float64)
        if CENTRE:
            first += (e0 + e1) + (e2 + e3)
        second += _squares(e0, e1, e2, e3)
    first, second = sum_rows(first, second, CENTRE)
    c = tl.zeros([ROWS], tl.float64)
    base = (row * (4 * length))[:, None]
    if CENTRE:
        far = is_far(first, second, n)
        if tl.max(far.to(tl.int32), axis=0) > 0:
            # As a float32, so that no difference from it is rounded.
            c = tl.where(far, (first * one_over_n).to(tl.float32).to(tl.float64), 0.0)
            more, most = read_sums(
                x_ptr, base, there[:, None], c, 0, 4 * length, CENTRE, True, False, ROWS, STEP
            )
            # Those rows alone: a row has the same bits whoever its neighbours are.
            first, second = tl.where(far, more, first), tl.where(far, most, second)
    root, unit, factor, rational = root_of(first, second, n, EPS, CENTRE)
    mean = mean_of(first, n, one_over_n)
    for start in range(0, length, BLOCK):
        if not EVEN:
            filled = start + column < length
        x = tl.load(x_ptr.to(fours) + (place + start), mask=there[:, None] & filled, other=0)
        w = x
        b = x
        if SCALE:
            w = tl.load(w_ptr.to(fours) + (start + column), mask=filled, other=0)
        if SHIFT:
            b = tl.load(b_ptr.to(fours) + (start + column), mask=filled, other=0)
        y = results(x, w, b, c, mean, factor, dtype, OFFSET, CENTRE, TWICE, SCALE, SHIFT)
        tl.store(y_ptr.to(fours) + (place + start), y, mask=there[:, None] & filled)
    wrong = there & rational
    if tl.max(wrong.to(tl.int32), axis=0) > 0:
        # What was stored above is stored again.
        tl.debug_barrier()
        slow_rows(
            x_ptr, w_ptr, b_ptr, y_ptr, base, wrong[:, None], 0, 4 * length, c, first, root, unit, n,
            OFFSET, CENTRE, TWICE, SCALE, SHIFT, STEP,
        )  # fmt: skip
