"""layer_norm and rms_norm of long rows, which several programs share: see `exchange`."""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

import triton
import triton.language as tl

from stable_ops.ops.triton.exchange import as_double, collect, publish, ticket, words
from stable_ops.ops.triton.norm_steps import (
    OVERFLOW,
    double,
    is_far,
    mean_of,
    quick,
    read_sums,
    root_of,
    slow_rows,
    sum_rows,
    worst_of,
)


@triton.jit
def _tell(first, second, place, part, parts):
    publish(place, part, tl.sum(first, axis=0), tl.sum(second, axis=0), parts)


@triton.jit
def _hear(place, parts, WIDTH: tl.constexpr):
    """Sums over the row from those over each part, in the order of the parts."""
    firsts, seconds = collect(place, parts, WIDTH)
    zero = double(0.0)
    return zero + tl.sum(as_double(firsts), axis=0), zero + tl.sum(as_double(seconds), axis=0)


@triton.jit(do_not_specialize=["count", "units", "teams"])
def in_teams(
    x_ptr, w_ptr, b_ptr, y_ptr, scratch_ptr, count, units, parts, teams,
    EPS: tl.constexpr, OFFSET: tl.constexpr, CENTRE: tl.constexpr, TWICE: tl.constexpr,
    SCALE: tl.constexpr, SHIFT: tl.constexpr, UNIT: tl.constexpr, EVEN: tl.constexpr, BLOCK: tl.constexpr,
    STEP: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Team t of `parts` programs takes rows t, t + teams, ...; each program BLOCK columns of every one.

    Of three rows at once: one is asked for, the sums of one are told to the others, and the sums of one are
    heard, which the others have told by then. `EVEN` if a row is `parts` blocks long. The scratch is for 2
    count rows.
    """
    length = units * UNIT
    n = length.to(tl.float64)
    one_over_n = 1.0 / n
    team, part = ticket(scratch_ptr, parts)
    begin = part * BLOCK
    column = begin + tl.arange(0, BLOCK)[None, :]
    filled = tl.full([1, BLOCK], 1, tl.int1) if EVEN else column < length
    base = tl.full([1, 1], 0, tl.int32)
    row = team
    x = tl.load(x_ptr + row * length + column, mask=filled & (row + 0 * column < count), other=0.0)
    following = row + teams
    ahead = tl.load(
        x_ptr + following * length + column, mask=filled & (following + 0 * column < count), other=0.0
    )
    e = x.to(tl.float64)
    first, second = sum_rows(e, e * e, CENTRE)
    _tell(first, second, words(scratch_ptr, row, parts), part, parts)
    while row < count:
        following = row + teams
        if following < count:
            e = ahead.to(tl.float64)
            first, second = sum_rows(e, e * e, CENTRE)
            _tell(first, second, words(scratch_ptr, following, parts), part, parts)
        later = following + teams
        asked = tl.load(
            x_ptr + later * length + column, mask=filled & (later + 0 * column < count), other=0.0
        )
        first, second = _hear(words(scratch_ptr, row, parts), parts, WIDTH)
        c = first * 0.0
        if CENTRE:  # noqa: SIM102 (decided at compile time, the other at run time)
            # All parts find the same, so all of them or none exchange their sums again.
            if tl.max(is_far(first, second, n).to(tl.int32), axis=0) > 0:
                # As a float32, so that no difference from it is rounded.
                c = (first * one_over_n).to(tl.float32).to(tl.float64)
                end = tl.minimum(begin + BLOCK, length)
                first, second = read_sums(
                    x_ptr + row * length, base, base == 0, c, begin, end, CENTRE, True, False, 1, STEP
                )
                _tell(first, second, words(scratch_ptr, row + count, parts), part, parts)
                first, second = _hear(words(scratch_ptr, row + count, parts), parts, WIDTH)
        root, unit, factor, rational = root_of(first, second, n, EPS, CENTRE)
        e = x.to(tl.float64)
        if CENTRE:
            # Where c is 0 the first difference changes nothing.
            e = (e - c[:, None]) - mean_of(first, n, one_over_n)[:, None]
        w = tl.load(w_ptr + column, mask=filled, other=0.0)
        b = tl.load(b_ptr + column, mask=filled, other=0.0)
        y, alarm = quick(e, w, b, factor[:, None], x_ptr.dtype.element_ty, OFFSET, TWICE, SCALE, SHIFT)
        tl.store(y_ptr + row * length + column, y, mask=filled)
        # Each part does again its own: for an irrational root the results are the same.
        if not (worst_of(tl.where(rational[:, None], 1.0, alarm)) < OVERFLOW):
            slow_rows(
                x_ptr + row * length, w_ptr, b_ptr, y_ptr + row * length, base, base == 0,
                begin, tl.minimum(begin + BLOCK, length), c, first, root, unit, n,
                OFFSET, CENTRE, TWICE, SCALE, SHIFT, STEP,
            )  # fmt: skip
        x = ahead
        ahead = asked
        row = following
