"""How a kernel finds one token of a row in descending order: by count, by mass, among equals.

Every mass is a float64 sum of weights 2^y, y = (x - max) log2(e) / T. A weight is within 2^-46.0 + |y| 2^-51
relative of the real one, and a sum of up to 2^20 of them within 2^-43 of the mass of the row. What lies
closer than `MARGIN` to a border is reported as undecided.
"""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

import triton
import triton.language as tl

MARGIN = tl.constexpr(2.0**-41)
# Temperatures between these keep y and its clamp well inside float64 and float32; others go to the CPU.
COLDEST = tl.constexpr(1e-30)
HOTTEST = tl.constexpr(1e30)
POINTS = tl.constexpr(16)
_LOG2_E = tl.constexpr(1.4426950408889634)
# Adding 1.5 * 2^52 leaves the nearest integer in the low bits of a float64.
_INTEGER = tl.constexpr(6755399441055744.0)
# Below it a weight is zero.
_LOWEST = tl.constexpr(-1000.0)
# 2^r on [-1/2, 1/2], minimax, 2^-46.08 off.
_C0 = tl.constexpr(1.0000000000000127)
_C1 = tl.constexpr(0.693147180559871)
_C2 = tl.constexpr(0.24022650695649653)
_C3 = tl.constexpr(0.055504108668685624)
_C4 = tl.constexpr(0.009618129192067193)
_C5 = tl.constexpr(0.0013333557617602426)
_C6 = tl.constexpr(0.00015403434948103528)
_C7 = tl.constexpr(1.5252984839814557e-05)
_C8 = tl.constexpr(1.3259405603573696e-06)
_C9 = tl.constexpr(1.0150336495148618e-07)


@triton.jit
def double(value: tl.constexpr):
    """A float64 number: the language makes float32 of a literal."""
    return tl.full([1], value, tl.float64)


@triton.jit
def exponent_scale(temperature):
    """log2(e) / T."""
    return tl.sum(double(_LOG2_E) / temperature, axis=0)


@triton.jit
def weigh(x, peak, scale):
    """2^((x - peak) scale) of float32 numbers, in float64; 0 for -inf."""
    narrow = tl.maximum(scale.to(tl.float32), 1e-38)
    dead = (x - peak) * narrow < _LOWEST
    y = (x.to(tl.float64) - peak.to(tl.float64)) * scale
    magic = double(_INTEGER)
    z = y + magic
    r = y - (z - magic)
    p = tl.fma(r, double(_C9), double(_C8))
    p = tl.fma(p, r, double(_C7))
    p = tl.fma(p, r, double(_C6))
    p = tl.fma(p, r, double(_C5))
    p = tl.fma(p, r, double(_C4))
    p = tl.fma(p, r, double(_C3))
    p = tl.fma(p, r, double(_C2))
    p = tl.fma(p, r, double(_C1))
    p = tl.fma(p, r, double(_C0))
    bits = p.to(tl.int64, bitcast=True) + (z.to(tl.int64, bitcast=True) << 52)
    return tl.where(dead, 0.0, bits.to(tl.float64, bitcast=True))


@triton.jit
def ordered(x):
    """An integer for each float32, in the same order; one for both zeros."""
    bits = tl.where(x == 0, 0.0, x).to(tl.int32, bitcast=True)
    return tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


@triton.jit
def from_ordered(o):
    """The float32 of that integer."""
    return tl.where(o < 0, o ^ 0x7FFFFFFF, o).to(tl.float32, bitcast=True)


@triton.jit
def read(x_ptr, place, n):
    return tl.load(x_ptr + place, mask=place < n, other=-float("inf")).to(tl.float32)


@triton.jit
def peak_of(x_ptr, n, TILE: tl.constexpr):
    """The largest of a row, NaN if it holds one, and the smallest above -inf as an ordered integer."""
    top = tl.full([TILE], -float("inf"), tl.float32)
    least = tl.full([TILE], 0x7F800000, tl.int32)
    bad = tl.zeros([TILE], tl.int32)
    for start in range(0, n, TILE):
        x = read(x_ptr, start + tl.arange(0, TILE), n)
        bad |= (x != x).to(tl.int32)
        top = tl.maximum(top, x)
        least = tl.minimum(least, tl.where(x > -float("inf"), ordered(x), 0x7F800000))
    peak = tl.max(top, axis=0)
    return tl.where(tl.max(bad, axis=0) > 0, float("nan"), peak), tl.min(least, axis=0)


@triton.jit
def mass_from(x_ptr, n, lowest, peak, scale, TILE: tl.constexpr):
    """Count and mass of the elements whose ordered integer is at least `lowest`."""
    mass = tl.zeros([TILE], tl.float64)
    count = tl.zeros([TILE], tl.int32)
    for start in range(0, n, TILE):
        x = read(x_ptr, start + tl.arange(0, TILE), n)
        inside = (ordered(x) >= lowest) & (x > -float("inf"))
        mass += tl.where(inside, weigh(x, peak, scale), 0.0)
        count += inside.to(tl.int32)
    return tl.sum(count, axis=0), tl.sum(mass, axis=0)


@triton.jit
def find_value(x_ptr, n, low, high, target, base, peak, scale, COUNT: tl.constexpr, TILE: tl.constexpr):
    """The largest ordered integer v in [low, high) with base + A(x >= v) >= target, and base + A(x > v).

    A is the mass, or with COUNT the number of elements. The third result is base + A(x >= low): where that is
    less than the target there is no such v.
    """
    low = low.to(tl.int64)
    high = high.to(tl.int64)
    above = base
    everything = base
    while high - low > 1:
        step = (high - low + POINTS - 1) // POINTS
        points = tl.minimum(low + step * tl.arange(0, POINTS), high).to(tl.int32)
        sums = tl.zeros([TILE, POINTS], tl.float64)
        for start in range(0, n, TILE):
            x = read(x_ptr, start + tl.arange(0, TILE), n)
            weight = (x > -float("inf")).to(tl.float64) if COUNT else weigh(x, peak, scale)
            sums += tl.where(ordered(x)[:, None] >= points[None, :], weight[:, None], 0.0)
        masses = base + tl.sum(sums, axis=0)
        everything = tl.maximum(everything, tl.max(masses, axis=0))
        # Points at `high` do not count: a target of 0 holds there too.
        holds = (masses >= target) & (points < high)
        reached = tl.maximum(tl.sum(holds.to(tl.int32), axis=0), 1)
        # The points that do not hold; above the last of them everything is as before.
        beyond = tl.max(tl.where(tl.arange(0, POINTS) >= reached, masses, base), axis=0)
        next_high = tl.minimum(low + step * reached, high)
        above = tl.where(next_high < high, beyond, above)
        low = low + step * (reached - 1)
        high = next_high
    return low.to(tl.int32), above, everything


@triton.jit
def index_at(index_ptr, place, n, LISTED: tl.constexpr):
    """The index in the row of what stands at a place."""
    return tl.load(index_ptr + place, mask=place < n, other=0) if LISTED else place


@triton.jit
def equals_of(x_ptr, index_ptr, n, value, LISTED: tl.constexpr, TILE: tl.constexpr):
    """How many elements have a value, and the least index of one."""
    count = tl.zeros([TILE], tl.int32)
    first = tl.full([TILE], 0x7FFFFFFF, tl.int32)
    for start in range(0, n, TILE):
        place = start + tl.arange(0, TILE)
        same = (ordered(read(x_ptr, place, n)) == value) & (place < n)
        count += same.to(tl.int32)
        first = tl.minimum(first, tl.where(same, index_at(index_ptr, place, n, LISTED), 0x7FFFFFFF))
    return tl.sum(count, axis=0), tl.min(first, axis=0)


@triton.jit
def find_equal(x_ptr, index_ptr, n, limit, value, first, rank, LISTED: tl.constexpr, TILE: tl.constexpr):
    """The index of the `rank`-th, by index, of the elements that have a value; `first` is the least one."""
    low = first.to(tl.int64)
    # Fewer than `rank` have an index below low, and at least `rank` one below high.
    high = tl.where(rank == 1, low + 1, limit.to(tl.int64))
    while high - low > 1:
        step = (high - low + POINTS - 1) // POINTS
        points = tl.minimum(low + step * tl.arange(0, POINTS), high).to(tl.int32)
        counts = tl.zeros([TILE, POINTS], tl.int32)
        for start in range(0, n, TILE):
            place = start + tl.arange(0, TILE)
            same = (ordered(read(x_ptr, place, n)) == value) & (place < n)
            index = index_at(index_ptr, place, n, LISTED)
            counts += (same[:, None] & (index[:, None] < points[None, :])).to(tl.int32)
        below = tl.sum((tl.sum(counts, axis=0) < rank).to(tl.int32), axis=0)
        high = tl.minimum(low + step * below, high)
        low = low + step * (below - 1)
    return low
