"""One row by one program: all filters and the draw, of short rows and of those that the fast path leaves."""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

import triton
import triton.language as tl

from stable_ops.ops.triton.sampling_search import (
    COLDEST,
    HOTTEST,
    MARGIN,
    exponent_scale,
    find_equal,
    first_of_few,
    from_ordered,
    gather,
    mass_from,
    narrow,
    of_threads,
    ordered,
    peak_of,
    read,
    tile,
    weigh,
)

# What became of a row.
DONE = tl.constexpr(0)
UNDECIDED = tl.constexpr(1)
REFUSED = tl.constexpr(2)
PENDING = tl.constexpr(3)
# Columns of the options, in 64 bits each.
COLUMNS = tl.constexpr(6)


@triton.jit
def options_of(options_ptr, row, PER_ROW: tl.constexpr):
    """temperature, top_p, min_p, top_k, seed and offset of a row."""
    place = options_ptr + (row * COLUMNS if PER_ROW else 0)
    temperature = tl.load(place).to(tl.float64, bitcast=True)
    top_p = tl.load(place + 1).to(tl.float64, bitcast=True)
    min_p = tl.load(place + 2).to(tl.float64, bitcast=True)
    return temperature, top_p, min_p, tl.load(place + 3), tl.load(place + 4), tl.load(place + 5)


@triton.jit
def usable(temperature):
    """1 for 0, which any scale suits, and else the temperature within the limits of the kernels."""
    clamped = tl.minimum(tl.maximum(temperature, COLDEST), HOTTEST)
    return tl.where(temperature == 0, 1.0, clamped)


@triton.jit
def uniform(seed, offset, stream, number):
    """u in [0, 1), a multiple of 2^-53."""
    zero = tl.zeros([1], tl.int32).to(tl.uint32)
    mask = 0xFFFFFFFF
    c0 = zero + number.to(tl.uint32)
    c1 = zero + (offset & mask).to(tl.uint32)
    c2 = zero + ((offset >> 32) & mask).to(tl.uint32)
    c3 = zero + stream.to(tl.uint32)
    words = tl.philox(seed, c0, c1, c2, c3)
    bits = (words[1].to(tl.uint64) << 32) | words[0].to(tl.uint64)
    unit = tl.full([1], 2.0**-53, tl.float64)
    return tl.sum((bits >> 11).to(tl.int64).to(tl.float64) * unit, axis=0)


@triton.jit
def rank_among(target, above, weight, count):
    """Which of `count` equal tokens, each of that weight, brings the mass from `above` to the target."""
    rank = tl.ceil((target - above) / weight)
    return tl.minimum(tl.maximum(rank, 1.0), count.to(tl.float64))


@triton.jit
def spare_of(target, reached, weight):
    """How far the target is from the mass that a token reaches and from that before it."""
    before = reached - weight
    # The first token of all reaches whatever is asked: nothing is before it.
    return tl.minimum(reached - target, tl.where(before < 0.5, float("inf"), target - before))


@triton.jit
def weight_of(value, peak, scale):
    """The weight of an ordered integer's number."""
    x = from_ordered(value + tl.zeros([1], tl.int32))
    return tl.sum(weigh(x, peak, scale), axis=0)


@triton.jit
def ordered_one(x):
    """`ordered` of one number."""
    return tl.sum(ordered(x + tl.zeros([1], tl.float32)), axis=0)


@triton.jit
def min_p_mass(x_ptr, n, min_p, peak, scale, HEIGHT: tl.constexpr, THREADS: tl.constexpr):
    """The mass of what min-p keeps, and whether a token is too near its border."""
    border = tl.log2(min_p)
    place = tile(HEIGHT, THREADS)
    mass = tl.zeros([THREADS], tl.float64)
    near = tl.zeros([THREADS], tl.int32)
    for start in range(0, n, 4 * HEIGHT * THREADS):
        x = read(x_ptr, start + place, n)
        y = (x.to(tl.float64) - peak.to(tl.float64)) * scale
        at_peak = x == peak
        mass += of_threads(tl.where((y >= border) | at_peak, weigh(x, peak, scale), 0.0))
        close = (tl.abs(y - border) <= MARGIN * (1.0 + tl.abs(border))) & ~at_peak
        near += of_threads(close.to(tl.int32))
    return tl.sum(mass, axis=0), tl.sum(near, axis=0)


@triton.jit
def reach(
    x_ptr, index_ptr, n, limit, low, high, target, base, peak, scale, few_ptr, LISTED: tl.constexpr,
    FEW: tl.constexpr, HEIGHT: tl.constexpr, THREADS: tl.constexpr,
):  # fmt: skip
    """The first token, in order, whose mass reaches the target.

    Its index, the mass it reaches, how far the target is from the masses beside it, and the mass of all
    elements.
    """
    # Not above the largest element, where a target of 0 holds too.
    high = tl.minimum(high, ordered_one(peak) + 1)
    low, high, above, inside, everything = narrow(
        x_ptr, n, low, high, target, base, peak, scale, False, FEW, HEIGHT, THREADS
    )
    if inside <= FEW:
        gather(x_ptr, index_ptr, n, low, high, peak, scale, few_ptr, LISTED, FEW, HEIGHT, THREADS)
        index, value, reached = first_of_few(few_ptr, target, above, FEW)
        weight = weight_of(value, peak, scale)
    else:
        weight = weight_of(low, peak, scale)
        rank = rank_among(target, above, weight, inside)
        reached = above + rank * weight
        index = find_equal(x_ptr, index_ptr, n, limit, low, rank.to(tl.int64), LISTED, HEIGHT, THREADS)
    return index, reached, spare_of(target, reached, weight), everything


@triton.jit
def answer(
    x_ptr, index_ptr, n, limit, least, peak, total, options_ptr, row, number, few_ptr, PER_ROW: tl.constexpr,
    OWN_STREAM: tl.constexpr, LISTED: tl.constexpr, FEW: tl.constexpr, HEIGHT: tl.constexpr,
    THREADS: tl.constexpr,
):  # fmt: skip
    """The token and what became of it, from elements that hold all of the row that matters.

    `total` is the mass of the whole row. If the n elements are a list (LISTED), it holds all from `least` on;
    a question that reaches beyond it answers PENDING.
    """
    temperature, top_p, min_p, top_k, seed, offset = options_of(options_ptr, row, PER_ROW)
    u = uniform(seed, offset, row * 0 if OWN_STREAM else row, number)
    clamped = (temperature != 0) & ((temperature < COLDEST) | (temperature > HOTTEST))
    top_p = tl.where(temperature == 0, 0.0, top_p)
    min_p = tl.where(temperature == 0, 0.0, min_p)
    scale = exponent_scale(usable(temperature))
    margin = total * MARGIN
    undecided = clamped
    pending = clamped & False
    high = ordered_one(peak) + 1
    nothing = total * 0
    kept = total
    if top_k < limit:
        wanted = top_k.to(tl.float64)
        found = narrow(x_ptr, n, least, high, wanted, nothing, peak, scale, True, 0, HEIGHT, THREADS)
        value, above, everything = found[0], found[2], found[4]
        if everything >= wanted:
            rest = mass_from(x_ptr, n, value + 1, peak, scale, HEIGHT, THREADS)
            kept = rest + (wanted - above) * weight_of(value, peak, scale)
        else:
            # Fewer tokens than top_k: all of them, if these are all.
            pending = pending | LISTED
    if top_p < 1:
        target = top_p * kept
        token, reached, spare, everything = reach(
            x_ptr, index_ptr, n, limit, least, high, target, nothing, peak, scale, few_ptr, LISTED, FEW,
            HEIGHT, THREADS,
        )  # fmt: skip
        kept = tl.minimum(reached, kept)
        undecided = undecided | (spare <= margin)
        if LISTED:
            pending = pending | (target > everything - margin)
    if min_p > 0:
        mass, near = min_p_mass(x_ptr, n, min_p, peak, scale, HEIGHT, THREADS)
        kept = tl.minimum(kept, mass)
        undecided = undecided | (near > 0)
        if LISTED:
            lowest = tl.sum(from_ordered(least + tl.zeros([1], tl.int32)), axis=0)
            border = (lowest.to(tl.float64) - peak.to(tl.float64)) * scale
            pending = pending | (border > tl.log2(min_p) - 1e-6)
    target = u * kept
    token, reached, spare, everything = reach(
        x_ptr, index_ptr, n, limit, least, high, target, nothing, peak, scale, few_ptr, LISTED, FEW,
        HEIGHT, THREADS,
    )  # fmt: skip
    undecided = undecided | (spare <= margin)
    if LISTED:
        pending = pending | (target > everything - margin)
    return token, tl.where(pending, PENDING, tl.where(undecided, UNDECIDED, DONE))


@triton.jit(do_not_specialize=["n", "size", "begin"])
def whole_row(
    x_ptr, stride, n, size, begin, options_ptr, few_ptr, tokens_ptr, status_ptr, PER_ROW: tl.constexpr,
    OWN_STREAM: tl.constexpr, LEFT: tl.constexpr, FEW: tl.constexpr, HEIGHT: tl.constexpr,
    THREADS: tl.constexpr,
):  # fmt: skip
    """Program i answers draw begin + i, which is one of `size` of a row; with LEFT only if it is pending."""
    program = tl.program_id(0)
    wanted = tl.load(status_ptr + program) == PENDING if LEFT else True
    if wanted:
        row, number = (begin + program) // size, (begin + program) % size
        row_ptr = x_ptr + row.to(tl.int64) * stride
        peak, least = peak_of(row_ptr, n, HEIGHT, THREADS)
        token = tl.full((), -1, tl.int64)
        status = tl.full((), REFUSED, tl.int32)
        if (peak > -float("inf")) & (peak < float("inf")):
            scale = exponent_scale(usable(options_of(options_ptr, row, PER_ROW)[0]))
            total = mass_from(row_ptr, n, least, peak, scale, HEIGHT, THREADS)
            token, status = answer(
                row_ptr, row_ptr, n, n, least, peak, total, options_ptr, row, number,
                few_ptr + program.to(tl.int64) * (2 * FEW + 1), PER_ROW, OWN_STREAM, False, FEW,
                HEIGHT, THREADS,
            )  # fmt: skip
        tl.store(tokens_ptr + program, token)
        tl.store(status_ptr + program, status)
