"""The softmax family for rows that several programs share: see `exchange`."""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

import triton
import triton.language as tl

from stable_ops.ops.triton.arithmetic import round_once
from stable_ops.ops.triton.exchange import as_double, collect, publish, ticket, words
from stable_ops.ops.triton.exponentials import (
    double_weights,
    larger,
    quick_log,
    row_peak,
)
from stable_ops.ops.triton.softmax_rows import (
    LOG_SOFTMAX,
    LOGSUMEXP,
    SOFTMAX,
    count_twins,
    is_cancelled,
    load,
    log_probability,
    logarithm_of,
    plus_peak,
    scale_of,
    store,
    subtracted,
    sums,
    total_exactly,
)


@triton.jit
def _to_word(peak, twins):
    """The count above the bits of a float32 peak."""
    return (tl.cast(twins, tl.int64) << 32) | (peak.to(tl.int32, bitcast=True).to(tl.int64) & 0xFFFFFFFF)


@triton.jit
def _tell(x, place, part, parts, OP: tl.constexpr, WIDE: tl.constexpr, GROUP: tl.constexpr):
    """The weights of a part `(1, n)`; its peak, how often it is there and its sum go to the others."""
    own = tl.max(row_peak(x), axis=0)
    reference = subtracted(own)
    e, total, rest = sums(x, reference, OP, WIDE, GROUP)
    total, rest = tl.max(total, axis=0), tl.max(rest, axis=0)
    twins = 0
    if OP == LOG_SOFTMAX or (OP == LOGSUMEXP and WIDE):
        twins = count_twins(total, rest, scale_of(reference, reference, OP, WIDE)).to(tl.int32)
    publish(place, part, _to_word(own, twins), rest, parts)
    return e


@triton.jit
def _hear(place, parts, OP: tl.constexpr, WIDE: tl.constexpr, WIDTH: tl.constexpr):
    """The row's peak; what makes exp(x - peak) of the weights of each part; sum, or log of it, of the row."""
    first, second = collect(place, parts, WIDTH)
    there = tl.arange(0, WIDTH) < parts
    peaks = tl.where(there, first.to(tl.int32).to(tl.float32, bitcast=True), -float("inf"))
    peak = tl.reduce(peaks, 0, larger)
    scales = scale_of(peaks, peak, OP, WIDE)
    total = tl.sum(as_double(second) * scales, axis=0)
    if OP == LOG_SOFTMAX or (OP == LOGSUMEXP and WIDE):
        # Peaks of parts that are lower than the row's are no longer counted but summed.
        twins = (first >> 32).to(tl.float64)
        total += tl.sum(tl.where(peaks < peak, double_weights(peaks, peak) * twins, 0.0), axis=0)
        total = logarithm_of(total + (tl.sum(tl.where(peaks == peak, twins, 0.0), axis=0) - 1.0), WIDE)
    elif OP == LOGSUMEXP:
        total = quick_log(total)
    return peak, scales, total


@triton.jit(do_not_specialize=["count", "parts", "teams"])
def in_teams(
    x_ptr,
    y_ptr,
    scratch_ptr,
    count,
    parts,
    teams,
    length,
    OP: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDTH: tl.constexpr,
    EVEN: tl.constexpr,
):
    """float32: team t takes the rows t, t + teams, ...; `EVEN` if a row is `parts` blocks long.

    A program asks for its part of the next row before it waits for the others.
    """
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    team, part = ticket(scratch_ptr, parts)
    column = part * BLOCK + tl.arange(0, BLOCK)[None, :]
    inside = column < length
    ahead = load(x_ptr + team * length, column, inside, EVEN)
    for row in range(team, count, teams):
        x = ahead.to(tl.float32)
        place = words(scratch_ptr, row, parts)
        e = _tell(x, place, part, parts, OP, True, 1)
        following = row + teams
        ahead = load(x_ptr + following * length, column, inside & (following + 0 * column < count), False)
        peak, scales, total = _hear(place, parts, OP, True, WIDTH)
        if OP == SOFTMAX:
            factor = tl.sum(tl.where(tl.arange(0, WIDTH) == part, scales, 0.0), axis=0) / total
            y = tl.fma(e, factor, (peak * 0.0).to(tl.float64))
        else:
            y = log_probability(x, peak + peak * 0.0, total, True)
        store(y_ptr + row * length, column, y, inside, dtype, EVEN, True)


@triton.jit(do_not_specialize=["parts"])
def sum_in_parts(
    x_ptr,
    y_ptr,
    scratch_ptr,
    counters_ptr,
    parts,
    length,
    WIDE: tl.constexpr,
    GROUP: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDTH: tl.constexpr,
    EVEN: tl.constexpr,
    PIECE: tl.constexpr,
):
    """logsumexp: the last part of a row to be there adds them up, and waits for no more than their words."""
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    row = (tl.program_id(0) // parts).to(tl.int64)
    part = tl.program_id(0) % parts
    x_ptr += row * length
    column = part * BLOCK + tl.arange(0, BLOCK)[None, :]
    x = load(x_ptr, column, column < length, EVEN).to(tl.float32)
    place = words(scratch_ptr, row, parts)
    _tell(x, place, part, parts, LOGSUMEXP, WIDE, GROUP)
    if tl.atomic_add(counters_ptr + row, 1, sem="relaxed") == parts - 1:
        peak, _, logarithm = _hear(place, parts, LOGSUMEXP, WIDE, WIDTH)
        y = plus_peak(peak, logarithm)
        if not WIDE:  # noqa: SIM102 (decided at compile time, the other at run time)
            if is_cancelled(y, dtype):
                rows = tl.zeros([1, 1], tl.int32)
                peaks = peak + tl.zeros([1], tl.float32)
                y = tl.max(total_exactly(x_ptr, rows, 1, length, peaks, PIECE), axis=0)
        tl.store(y_ptr + row + tl.arange(0, 1), round_once(y + tl.zeros([1], tl.float64), dtype))
