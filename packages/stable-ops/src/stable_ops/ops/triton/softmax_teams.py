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
    left_over,
    quick_log,
    quick_log1p,
    reciprocal,
    row_peak,
    two_to_the,
    whole_exponent,
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

_FAR = tl.constexpr(4096.0)
_UNLIFT = tl.constexpr(2.0**-32)


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


@triton.jit
def _tell_16(x, place, part, parts, OP: tl.constexpr, GROUP: tl.constexpr):
    """The same for 16 bits, with sums that are powers of two apart; the power, and what made them so."""
    own = tl.max(row_peak(x), axis=0)
    reference = subtracted(own)
    e, total, rest = sums(x, reference, OP, False, GROUP)
    total, rest = tl.max(total, axis=0), tl.max(rest, axis=0)
    apart = total * 0.0 + 1.0
    if tl.abs(reference) >= _FAR:
        apart = left_over(reference)
        total *= apart
        rest *= apart
    # Nothing but -inf is no sum; +inf and NaN make NaN of all.
    total = tl.where(own == -float("inf"), 0.0, total + own * 0.0)
    rest = tl.where(own == -float("inf"), 0.0, rest)
    if OP == SOFTMAX:
        publish(
            place,
            part,
            whole_exponent(own).to(tl.int32, bitcast=True).to(tl.int64) & 0xFFFFFFFF,
            total,
            parts,
        )
    else:
        bits = total.to(tl.float32).to(tl.int32, bitcast=True)
        publish(place, part, _to_word(own, bits), rest, parts)
    return e, whole_exponent(own), apart


@triton.jit
def _hear_sum_16(place, exponent, apart, parts, WIDTH: tl.constexpr):
    """The two factors, the second a power of two, that make probabilities of the weights."""
    first, second = collect(place, parts, WIDTH)
    there = tl.arange(0, WIDTH) < parts
    exponents = tl.where(there, first.to(tl.int32).to(tl.float32, bitcast=True), -float("inf"))
    highest = tl.max(exponents, axis=0)
    total = tl.sum(as_double(second) * two_to_the(exponents - highest), axis=0)
    return (reciprocal(total) * apart).to(tl.float32), two_to_the(exponent - highest).to(tl.float32)


@triton.jit
def _hear_logarithm_16(place, parts, WIDTH: tl.constexpr):
    """The row's peak and the logarithm of the sum relative to it."""
    first, second = collect(place, parts, WIDTH)
    there = tl.arange(0, WIDTH) < parts
    peaks = tl.where(there, first.to(tl.int32).to(tl.float32, bitcast=True), -float("inf"))
    totals = (first >> 32).to(tl.int32).to(tl.float32, bitcast=True).to(tl.float64)
    peak = tl.reduce(peaks, 0, larger)
    # Parts with a lower peak count whole, the others without their peaks; these are then counted.
    top = peaks == peak
    lower = totals * two_to_the(whole_exponent(peaks) - whole_exponent(peak))
    rest = tl.sum(tl.where(top, as_double(second), lower), axis=0)
    peaks_sum = tl.sum(tl.where(top, totals - as_double(second), 0.0), axis=0)
    unit = reciprocal(left_over(peak)) * _UNLIFT
    return peak, quick_log1p(rest * unit + (tl.floor(peaks_sum * unit + 0.5) - 1.0))


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
    WIDE: tl.constexpr,
    GROUP: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDTH: tl.constexpr,
    EVEN: tl.constexpr,
):
    """Team t of `parts` programs takes the rows t, t + teams, ...; `EVEN` if a row is `parts` blocks long.

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
        if WIDE:
            e = _tell(x, place, part, parts, OP, WIDE, GROUP)
        else:
            e, exponent, apart = _tell_16(x, place, part, parts, OP, GROUP)
        following = row + teams
        ahead = load(x_ptr + following * length, column, inside & (following + 0 * column < count), False)
        if WIDE:
            peak, scales, total = _hear(place, parts, OP, WIDE, WIDTH)
            if OP == SOFTMAX:
                factor = tl.sum(tl.where(tl.arange(0, WIDTH) == part, scales, 0.0), axis=0) / total
                y = tl.fma(e, factor, (peak * 0.0).to(tl.float64))
            else:
                y = log_probability(x, peak + peak * 0.0, total, WIDE)
        elif OP == SOFTMAX:
            factor, power = _hear_sum_16(place, exponent, apart, parts, WIDTH)
            y = (e * factor) * power
        else:
            peak, logarithm = _hear_logarithm_16(place, parts, WIDTH)
            y = log_probability(x, peak + peak * 0.0, logarithm, WIDE)
        store(y_ptr + row * length, column, y, inside, dtype, EVEN, WIDE)


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
    """logsumexp: nobody waits, the last part of a row to be there adds them up."""
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    row = (tl.program_id(0) // parts).to(tl.int64)
    part = tl.program_id(0) % parts
    x_ptr += row * length
    column = part * BLOCK + tl.arange(0, BLOCK)[None, :]
    x = load(x_ptr, column, column < length, EVEN).to(tl.float32)
    place = words(scratch_ptr, row, parts)
    _tell(x, place, part, parts, LOGSUMEXP, WIDE, GROUP)
    if tl.atomic_add(counters_ptr + row, 1, sem="acq_rel") == parts - 1:
        peak, _, logarithm = _hear(place, parts, LOGSUMEXP, WIDE, WIDTH)
        y = plus_peak(peak, logarithm)
        if not WIDE:  # noqa: SIM102 (decided at compile time, the other at run time)
            if is_cancelled(y, dtype):
                rows = tl.zeros([1, 1], tl.int32)
                peaks = peak + tl.zeros([1], tl.float32)
                y = tl.max(total_exactly(x_ptr, rows, 1, length, peaks, PIECE), axis=0)
        tl.store(y_ptr + row + tl.arange(0, 1), round_once(y + tl.zeros([1], tl.float64), dtype))
