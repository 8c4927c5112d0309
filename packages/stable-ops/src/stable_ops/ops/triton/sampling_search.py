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
# A key below that of any element.
NOTHING = tl.constexpr(-(2**62))
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
def tile(HEIGHT: tl.constexpr, THREADS: tl.constexpr):
    """Places 0, 1, ... in the shape (HEIGHT, THREADS, 4), of which a thread holds (HEIGHT, 1, 4)."""
    row = tl.arange(0, HEIGHT)[:, None, None] * (4 * THREADS)
    return row + tl.arange(0, THREADS)[None, :, None] * 4 + tl.arange(0, 4)[None, None, :]


@triton.jit
def of_threads(x):
    """The sum of what each thread holds of a tile."""
    return tl.sum(tl.sum(x, axis=2), axis=0)


@triton.jit
def all_of(x):
    """The sum of a tile."""
    return tl.sum(of_threads(x), axis=0)


@triton.jit
def read(x_ptr, place, n):
    return tl.load(x_ptr + place, mask=place < n, other=-float("inf")).to(tl.float32)


@triton.jit
def peak_of(x_ptr, n, HEIGHT: tl.constexpr, THREADS: tl.constexpr):
    """The largest of a row, NaN if it holds one, and the smallest above -inf as an ordered integer."""
    place = tile(HEIGHT, THREADS)
    top = tl.full([HEIGHT, THREADS, 4], -float("inf"), tl.float32)
    least = tl.full([HEIGHT, THREADS, 4], 0x7F800000, tl.int32)
    bad = tl.zeros([HEIGHT, THREADS, 4], tl.int32)
    for start in range(0, n, 4 * HEIGHT * THREADS):
        x = read(x_ptr, start + place, n)
        bad |= (x != x).to(tl.int32)
        top = tl.maximum(top, x)
        least = tl.minimum(least, tl.where(x > -float("inf"), ordered(x), 0x7F800000))
    return tl.where(tl.max(bad) > 0, float("nan"), tl.max(top)), tl.min(least)


@triton.jit
def mass_from(x_ptr, n, lowest, peak, scale, HEIGHT: tl.constexpr, THREADS: tl.constexpr):
    """The mass of the elements whose ordered integer is at least `lowest`."""
    place = tile(HEIGHT, THREADS)
    mass = tl.zeros([THREADS], tl.float64)
    for start in range(0, n, 4 * HEIGHT * THREADS):
        x = read(x_ptr, start + place, n)
        mass += of_threads(tl.where(ordered(x) >= lowest, weigh(x, peak, scale), 0.0))
    return tl.sum(mass, axis=0)


@triton.jit
def count_between(x_ptr, n, low, high, HEIGHT: tl.constexpr, THREADS: tl.constexpr):
    """How many ordered integers lie in [low, high)."""
    place = tile(HEIGHT, THREADS)
    count = tl.zeros([THREADS], tl.int32)
    for start in range(0, n, 4 * HEIGHT * THREADS):
        x = read(x_ptr, start + place, n)
        inside = (ordered(x) >= low) & (ordered(x) < high) & (x > -float("inf"))
        count += of_threads(inside.to(tl.int32))
    return tl.sum(count, axis=0)


# Sums above 16 points, for each thread: a tree of joins, so that one reduction adds them all up.


@triton.jit
def _above1(o, weight, low, step, high, K: tl.constexpr):
    point = tl.minimum(low + step * K, high).to(tl.int32)
    return of_threads(tl.where(o >= point, weight, 0))


@triton.jit
def _above2(o, weight, low, step, high, K: tl.constexpr):
    return tl.join(_above1(o, weight, low, step, high, K), _above1(o, weight, low, step, high, K + 8))


@triton.jit
def _above4(o, weight, low, step, high, K: tl.constexpr):
    return tl.join(_above2(o, weight, low, step, high, K), _above2(o, weight, low, step, high, K + 4))


@triton.jit
def _above8(o, weight, low, step, high, K: tl.constexpr):
    return tl.join(_above4(o, weight, low, step, high, K), _above4(o, weight, low, step, high, K + 2))


@triton.jit
def above_points(o, weight, low, step, high, THREADS: tl.constexpr):
    """Of each thread the sums of the weights from each point low + k step (at most `high`) on."""
    joined = tl.join(_above8(o, weight, low, step, high, 0), _above8(o, weight, low, step, high, 1))
    return tl.reshape(joined, [THREADS, POINTS])


@triton.jit
def narrow(
    x_ptr, n, low, high, target, base, peak, scale, COUNT: tl.constexpr, FEW: tl.constexpr,
    HEIGHT: tl.constexpr, THREADS: tl.constexpr,
):  # fmt: skip
    """Narrow [low, high) to where base + A(x >= v) passes the target: to FEW elements or to one value.

    A is the mass, or with COUNT the number of elements. The answer is the range, base + A(x >= high), the
    number of elements inside, and base + A of all from the first `low` on, which may not reach the target.
    """
    low = low.to(tl.int64)
    high = high.to(tl.int64)
    above = base
    everything = base
    inside = n + FEW
    place = tile(HEIGHT, THREADS)
    # Once in any case, for `everything`.
    while (inside > FEW) & ((high - low > 1) | (inside == n + FEW)):
        step = (high - low + POINTS - 1) // POINTS
        sums = tl.zeros([THREADS, POINTS], tl.float64)
        for start in range(0, n, 4 * HEIGHT * THREADS):
            x = read(x_ptr, start + place, n)
            weight = (x > -float("inf")).to(tl.float64) if COUNT else weigh(x, peak, scale)
            sums += above_points(ordered(x), weight, low, step, high, THREADS)
        masses = base + tl.sum(sums, axis=0)
        everything = tl.maximum(everything, tl.max(masses, axis=0))
        # Points at `high` do not count: a target of 0 holds there too.
        holds = (masses >= target) & (low + step * tl.arange(0, POINTS) < high)
        reached = tl.maximum(tl.sum(holds.to(tl.int32), axis=0), 1)
        beyond = tl.max(tl.where(tl.arange(0, POINTS) >= reached, masses, base), axis=0)
        next_high = tl.minimum(low + step * reached, high)
        above = tl.where(next_high < high, beyond, above)
        low = low + step * (reached - 1)
        high = next_high
        inside = count_between(x_ptr, n, low, high, HEIGHT, THREADS)
    return low.to(tl.int32), high.to(tl.int32), above, inside, everything


@triton.jit
def index_at(index_ptr, place, n, LISTED: tl.constexpr):
    """The index in the row of what stands at a place."""
    return tl.load(index_ptr + place, mask=place < n, other=0) if LISTED else place


@triton.jit
def gather(
    x_ptr, index_ptr, n, low, high, peak, scale, few_ptr, LISTED: tl.constexpr, FEW: tl.constexpr,
    HEIGHT: tl.constexpr, THREADS: tl.constexpr,
):  # fmt: skip
    """Put the at most FEW elements of [low, high) at few_ptr + 1: keys that order the row, then weights."""
    at = tl.arange(0, FEW)
    tl.store(few_ptr + 1 + at, tl.full([FEW], NOTHING, tl.int64))
    tl.store(few_ptr + 1 + FEW + at, tl.zeros([FEW], tl.int64))
    tl.store(few_ptr, 0)
    tl.debug_barrier()
    place = tile(HEIGHT, THREADS)
    for start in range(0, n, 4 * HEIGHT * THREADS):
        x = read(x_ptr, start + place, n)
        o = ordered(x)
        chosen = (o >= low) & (o < high) & (x > -float("inf"))
        one = tl.full([HEIGHT, THREADS, 4], 1, tl.int64)
        spot = tl.atomic_add(few_ptr + tl.zeros_like(place), one, mask=chosen)
        later = 0x7FFFFFFF - index_at(index_ptr, start + place, n, LISTED)
        key = (o.to(tl.int64) << 32) + later.to(tl.int64)
        fits = chosen & (spot < FEW)
        tl.store(few_ptr + 1 + spot, key, mask=fits)
        weight = weigh(x, peak, scale).to(tl.int64, bitcast=True)
        tl.store(few_ptr + 1 + FEW + spot, weight, mask=fits)
    tl.debug_barrier()


@triton.jit
def first_of_few(few_ptr, target, above, FEW: tl.constexpr):
    """Among the gathered elements the first whose mass reaches the target: index, ordered value, mass."""
    mine = tl.load(few_ptr + 1 + tl.arange(0, FEW), cache_modifier=".cg")
    mass = above + tl.zeros([FEW], tl.float64)
    for start in tl.static_range(0, FEW, 32):
        theirs = tl.load(few_ptr + 1 + start + tl.arange(0, 32), cache_modifier=".cg")
        bits = tl.load(few_ptr + 1 + FEW + start + tl.arange(0, 32), cache_modifier=".cg")
        weight = bits.to(tl.float64, bitcast=True)
        # In this shape a thread has a column and adds it up alone.
        mass += tl.sum(tl.where(theirs[:, None] >= mine[None, :], weight[:, None], 0.0), axis=0)
    reaching = (mass >= target) & (mine > NOTHING)
    # The largest key of those that reach it.
    key = tl.max(tl.where(reaching, mine, NOTHING), axis=0)
    reached = tl.max(tl.where(mine == key, mass, 0.0), axis=0)
    index = 0x7FFFFFFF - (key & 0xFFFFFFFF)
    return index, (key >> 32).to(tl.int32), reached


@triton.jit
def equals_of(x_ptr, index_ptr, n, value, LISTED: tl.constexpr, HEIGHT: tl.constexpr, THREADS: tl.constexpr):
    """The least index of the elements that have a value."""
    place = tile(HEIGHT, THREADS)
    first = tl.full([HEIGHT, THREADS, 4], 0x7FFFFFFF, tl.int32)
    for start in range(0, n, 4 * HEIGHT * THREADS):
        same = (ordered(read(x_ptr, start + place, n)) == value) & (start + place < n)
        index = index_at(index_ptr, start + place, n, LISTED)
        first = tl.minimum(first, tl.where(same, index, 0x7FFFFFFF))
    return tl.min(first)


@triton.jit
def find_equal(
    x_ptr, index_ptr, n, limit, value, rank, LISTED: tl.constexpr, HEIGHT: tl.constexpr,
    THREADS: tl.constexpr,
):  # fmt: skip
    """The index of the `rank`-th, by index, of the elements that have a value."""
    low = equals_of(x_ptr, index_ptr, n, value, LISTED, HEIGHT, THREADS).to(tl.int64)
    # Fewer than `rank` have an index below low, and at least `rank` one below high.
    high = tl.where(rank == 1, low + 1, limit.to(tl.int64))
    place = tile(HEIGHT, THREADS)
    while high - low > 1:
        step = (high - low + POINTS - 1) // POINTS
        sums = tl.zeros([THREADS, POINTS], tl.int32)
        total = tl.zeros([THREADS], tl.int32)
        for start in range(0, n, 4 * HEIGHT * THREADS):
            same = (ordered(read(x_ptr, start + place, n)) == value) & (start + place < n)
            index = index_at(index_ptr, start + place, n, LISTED)
            sums += above_points(index, same.to(tl.int32), low, step, high, THREADS)
            total += of_threads(same.to(tl.int32))
        counts = tl.sum(total, axis=0) - tl.sum(sums, axis=0)
        below = tl.sum((counts < rank).to(tl.int32), axis=0)
        high = tl.minimum(low + step * below, high)
        low = low + step * (below - 1)
    return low
