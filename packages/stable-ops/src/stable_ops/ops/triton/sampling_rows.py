"""Long rows by many programs each: a sample plans, one read surveys, one read collects, a list answers.

1. `plan`: a sample of the row suggests thresholds near the border of the nucleus and near the draw.
2. `survey`: float32 masses above each threshold, over all of the row, tell between which the two lie.
3. `collect`: the float64 mass of the row and that above each of the two pairs of thresholds; the elements
   between the thresholds of a pair go to a list.
4. `conclude`: the answer from the lists, or PENDING where a list is too long or does not hold it.

The sample decides how long the lists are, and nothing else.
"""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

import triton
import triton.language as tl

from stable_ops.ops.triton.sampling_search import (
    MARGIN,
    POINTS,
    exponent_scale,
    find_equal,
    read,
    weigh,
)
from stable_ops.ops.triton.sampling_whole import (
    DONE,
    PENDING,
    REFUSED,
    UNDECIDED,
    answer,
    options_of,
    ordered_one,
    reach,
    uniform,
    usable,
)

# Neighbours that are read together: a sector of float32.
RUN = tl.constexpr(8)
# What the float32 survey may be wrong by, as a share of the mass.
_SURVEY_ERROR = tl.constexpr(1e-4)
_HUGE = tl.constexpr(3.4e38)


@triton.jit
def _draw_of(options_ptr, row, number, PER_ROW: tl.constexpr, OWN_STREAM: tl.constexpr):
    """temperature, top_p and u; a temperature of 0 is the nucleus of one token."""
    temperature, top_p, _, _, seed, offset = options_of(options_ptr, row, PER_ROW)
    u = uniform(seed, offset, row * 0 if OWN_STREAM else row, number)
    return usable(temperature), tl.where(temperature == 0, 0.0, top_p), u


@triton.jit
def _deviation(weights, sums, rank, place, total):
    """The standard error, in ranks, of the rank where a share of the mass is reached."""
    share = tl.sum(tl.where(place == rank, sums, 0.0), axis=0) / total
    weight = tl.sum(tl.where(place == rank, weights, 0.0), axis=0)
    squares = weights * weights
    head = tl.sum(tl.where(place <= rank, squares, 0.0), axis=0)
    tail = tl.sum(tl.where(place > rank, squares, 0.0), axis=0)
    variance = (1 - share) * (1 - share) * head + share * share * tail
    return tl.minimum(tl.sqrt(variance) / tl.maximum(weight, 1e-30), 1e6)


@triton.jit
def plan(
    x_ptr, stride, n, size, begin, options_ptr, sorted_ptr, points_ptr, counters_ptr, PER_ROW: tl.constexpr,
    OWN_STREAM: tl.constexpr, FILTERED: tl.constexpr, SAMPLE: tl.constexpr, LIST: tl.constexpr,
):  # fmt: skip
    """Thresholds for each draw, shape (draws, POINTS), and two empty lists."""
    program = tl.program_id(0)
    row, number = (begin + program) // size, (begin + program) % size
    temperature, top_p, u = _draw_of(options_ptr, row, number, PER_ROW, OWN_STREAM)
    place = tl.arange(0, SAMPLE)
    step = n // (SAMPLE // RUN)
    x = tl.load(x_ptr + row.to(tl.int64) * stride + (place // RUN) * step + place % RUN).to(tl.float32)
    x = tl.sort(tl.where(x == x, x, -float("inf")), descending=True)
    j = tl.arange(0, POINTS)
    if FILTERED:
        # By rank alone: the longest list that fits will be taken.
        deepest = tl.minimum(SAMPLE - 1, LIST * 3 // 2 * SAMPLE // n)
        rank = deepest * (j + 1) // POINTS
    else:
        scale = exponent_scale(temperature).to(tl.float32)
        weights = tl.exp2(tl.maximum((x - tl.max(x, axis=0)) * scale, -100.0))
        sums = tl.cumsum(weights, axis=0)
        total = tl.max(sums, axis=0)
        p_rank = tl.sum((sums < top_p.to(tl.float32) * total).to(tl.int32), axis=0)
        u_rank = tl.sum((sums < (u * top_p).to(tl.float32) * total).to(tl.int32), axis=0)
        p_step = 1.0 + 0.7 * _deviation(weights, sums, p_rank, place, total)
        u_step = 1.0 + 0.7 * _deviation(weights, sums, u_rank, place, total)
        # Six for the case that the sample misleads, five around each border.
        around = tl.where(j < 11, j - 8, j - 13)
        off = around * tl.abs(around) * tl.where(j < 11, p_step, u_step)
        near = tl.where(j < 11, p_rank, u_rank) + tl.minimum(tl.maximum(off, -1.0 * SAMPLE), 1.0 * SAMPLE).to(
            tl.int32
        )
        rank = tl.where(j < 6, (1 << (2 * j)) - 1, near)
    rank = tl.minimum(tl.maximum(rank, 0), SAMPLE - 1)
    tl.store(sorted_ptr + program * SAMPLE + place, x)
    tl.debug_barrier()
    tl.store(points_ptr + program * POINTS + j, tl.load(sorted_ptr + program * SAMPLE + rank))
    tl.store(counters_ptr + program * 2 + tl.arange(0, 2), tl.zeros([2], tl.int32))


@triton.jit
def survey(
    x_ptr, stride, n, size, begin, pieces, options_ptr, points_ptr, peaks_ptr, masses_ptr,
    PER_ROW: tl.constexpr, FILTERED: tl.constexpr, PIECE: tl.constexpr,
):  # fmt: skip
    """Of each piece the largest element and, above each threshold, the mass, or with FILTERED the count."""
    program = tl.program_id(0)
    draw, piece = program // pieces, program % pieces
    row = (begin + draw) // size
    scale = exponent_scale(usable(options_of(options_ptr, row, PER_ROW)[0])).to(tl.float32)
    place = piece * PIECE + tl.arange(0, PIECE)
    x = read(x_ptr + row.to(tl.int64) * stride, place, n)
    bad = tl.max((x != x).to(tl.int32), axis=0)
    tl.store(peaks_ptr + program, tl.where(bad > 0, float("nan"), tl.max(x, axis=0)))
    near = tl.load(points_ptr + draw * POINTS)
    near = tl.where((near > -float("inf")) & (near < float("inf")), near, 0.0)
    weights = (x == x).to(tl.float32) if FILTERED else tl.exp2(tl.minimum((x - near) * scale, 60.0))
    j = tl.arange(0, POINTS)
    found = tl.zeros([POINTS], tl.float32)
    for i in tl.static_range(POINTS):
        threshold = tl.load(points_ptr + draw * POINTS + i)
        found = tl.where(j == i, tl.sum(tl.where(x >= threshold, weights, 0.0), axis=0), found)
    tl.store(masses_ptr + program * 2 * POINTS + j, found)
    tl.store(masses_ptr + program * 2 * POINTS + POINTS, tl.sum(weights, axis=0))


@triton.jit
def _brackets(points, masses, total, top_p, u):
    """For the nucleus and for the draw the threshold above the border and the one below it."""
    error = total * _SURVEY_ERROR
    target = top_p.to(tl.float32) * total
    p_high = tl.min(tl.where(masses < target - error, points, _HUGE), axis=0)
    p_low = tl.max(tl.where(masses > target + error, points, -_HUGE), axis=0)
    # The nucleus may hold more than its share: all down to p_low at most.
    most = tl.min(tl.where(masses > target + error, masses, total), axis=0)
    most = tl.where(top_p >= 1, total, most)
    v = u.to(tl.float32)
    u_high = tl.min(tl.where(masses < v * target - error, points, _HUGE), axis=0)
    u_low = tl.max(tl.where(masses > v * most + error, points, -_HUGE), axis=0)
    return p_high, p_low, u_high, u_low


@triton.jit
def _append(x, place, chosen, list_ptr, counter_ptr, LIST: tl.constexpr):
    """Append the chosen elements to a list, in any order; the counter also counts those that do not fit."""
    order = tl.cumsum(chosen.to(tl.int32), axis=0)
    start = tl.atomic_add(counter_ptr, tl.max(order, axis=0))
    spot = start + order - 1
    fits = chosen & (spot < LIST)
    tl.store(list_ptr + spot, x.to(tl.int32, bitcast=True), mask=fits)
    tl.store(list_ptr + LIST + spot, place, mask=fits)


@triton.jit
def _peak_of_pieces(peaks_ptr, draw, pieces, PIECES: tl.constexpr):
    """The largest element of a row, NaN if it holds one."""
    s = tl.arange(0, PIECES)
    peaks = tl.load(peaks_ptr + draw * pieces + s, mask=s < pieces, other=-float("inf"))
    bad = tl.max((peaks != peaks).to(tl.int32), axis=0)
    return tl.where(bad > 0, float("nan"), tl.max(peaks, axis=0))


@triton.jit
def collect(
    x_ptr, stride, n, size, begin, pieces, options_ptr, points_ptr, peaks_ptr, masses_ptr, exact_ptr,
    ends_ptr, counters_ptr, lists_ptr, PER_ROW: tl.constexpr, OWN_STREAM: tl.constexpr,
    FILTERED: tl.constexpr, LIST: tl.constexpr, PIECE: tl.constexpr, PIECES: tl.constexpr,
):  # fmt: skip
    """Exact masses of each piece, of all of it and above either pair of thresholds; the two lists."""
    program = tl.program_id(0)
    draw, piece = program // pieces, program % pieces
    row, number = (begin + draw) // size, (begin + draw) % size
    peak = _peak_of_pieces(peaks_ptr, draw, pieces, PIECES)
    if (peak > -float("inf")) & (peak < float("inf")):
        temperature, top_p, u = _draw_of(options_ptr, row, number, PER_ROW, OWN_STREAM)
        scale = exponent_scale(temperature)
        j = tl.arange(0, POINTS)
        s = tl.arange(0, PIECES)[:, None]
        rows = masses_ptr + (draw * pieces + s) * 2 * POINTS
        masses = tl.sum(tl.load(rows + j[None, :], mask=s < pieces, other=0.0), axis=0)
        points = tl.load(points_ptr + draw * POINTS + j)
        if FILTERED:
            p_high = tl.full((), _HUGE, tl.float32)
            p_low = tl.min(tl.where(masses <= LIST, points, _HUGE), axis=0)
            u_high, u_low = p_high, p_high
        else:
            total = tl.sum(tl.load(rows + POINTS, mask=s < pieces, other=0.0))
            p_high, p_low, u_high, u_low = _brackets(points, masses, total, top_p, u)
        place = piece * PIECE + tl.arange(0, PIECE)
        x = read(x_ptr + row.to(tl.int64) * stride, place, n)
        weights = weigh(x, peak, scale)
        exact = exact_ptr + program * 3
        tl.store(exact, tl.sum(weights, axis=0))
        lists = lists_ptr + draw.to(tl.int64) * 4 * LIST
        if FILTERED:
            _append(x, place, x >= p_low, lists, counters_ptr + draw * 2, LIST)
        else:
            tl.store(exact + 1, tl.sum(tl.where(x >= p_high, weights, 0.0), axis=0))
            tl.store(exact + 2, tl.sum(tl.where(x >= u_high, weights, 0.0), axis=0))
            if top_p < 1:
                _append(x, place, (x >= p_low) & (x < p_high), lists, counters_ptr + draw * 2, LIST)
            _append(
                x, place, (x >= u_low) & (x < u_high), lists + 2 * LIST, counters_ptr + draw * 2 + 1, LIST
            )
        if piece == 0:
            ends = ends_ptr + draw * 4
            tl.store(ends, p_high)
            tl.store(ends + 1, p_low)
            tl.store(ends + 2, u_high)
            tl.store(ends + 3, u_low)


@triton.jit
def conclude(
    n, size, begin, pieces, options_ptr, peaks_ptr, exact_ptr, ends_ptr, counters_ptr, lists_ptr, tokens_ptr,
    status_ptr, PER_ROW: tl.constexpr, OWN_STREAM: tl.constexpr, FILTERED: tl.constexpr,
    LIST: tl.constexpr, PIECES: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """The token of each draw from its lists."""
    draw = tl.program_id(0)
    row, number = (begin + draw) // size, (begin + draw) % size
    peak = _peak_of_pieces(peaks_ptr, draw, pieces, PIECES)
    token = tl.full((), -1, tl.int64)
    status = tl.full((), REFUSED, tl.int32)
    if (peak > -float("inf")) & (peak < float("inf")):
        s = tl.arange(0, PIECES)
        exact = exact_ptr + (draw * pieces + s) * 3
        total = tl.sum(tl.load(exact, mask=s < pieces, other=0.0), axis=0)
        lists = lists_ptr + draw.to(tl.int64) * 4 * LIST
        ends = ends_ptr + draw * 4
        first_count = tl.load(counters_ptr + draw * 2)
        second_count = tl.load(counters_ptr + draw * 2 + 1)
        if FILTERED:
            token, status = answer(
                lists.to(tl.pointer_type(tl.float32)), lists + LIST, tl.minimum(first_count, LIST), n,
                ordered_one(tl.load(ends + 1)), peak, total, options_ptr, row, number, PER_ROW, OWN_STREAM,
                True, TILE,
            )  # fmt: skip
            status = tl.where(first_count > LIST, PENDING, status)
        else:
            temperature, top_p, u = _draw_of(options_ptr, row, number, PER_ROW, OWN_STREAM)
            given = options_of(options_ptr, row, PER_ROW)[0]
            scale = exponent_scale(temperature)
            p_base = tl.sum(tl.load(exact + 1, mask=s < pieces, other=0.0), axis=0)
            u_base = tl.sum(tl.load(exact + 2, mask=s < pieces, other=0.0), axis=0)
            margin = total * MARGIN
            undecided = (given != 0) & (given != temperature)
            pending = False & undecided
            kept = total
            if top_p < 1:
                target = top_p * total
                value, rank, first, kept, spare, everything = reach(
                    lists.to(tl.pointer_type(tl.float32)), lists + LIST, tl.minimum(first_count, LIST),
                    ordered_one(tl.load(ends + 1)), ordered_one(tl.load(ends)), target, p_base, peak,
                    scale, True, TILE,
                )  # fmt: skip
                undecided = undecided | (spare <= margin)
                pending = (first_count > LIST) | (target > everything - margin)
                pending = pending | ((p_base > 0) & (target < p_base + margin))
            target = u * kept
            in_first = (target > p_base) & (top_p < 1)
            which = tl.where(in_first, 0, 1)
            count = tl.where(in_first, first_count, second_count)
            base = tl.where(in_first, p_base, u_base)
            chosen = lists + which * 2 * LIST
            value, rank, first, kept, spare, everything = reach(
                chosen.to(tl.pointer_type(tl.float32)), chosen + LIST, tl.minimum(count, LIST),
                ordered_one(tl.load(ends + 2 * which + 1)), ordered_one(tl.load(ends + 2 * which)), target,
                base, peak, scale, True, TILE,
            )  # fmt: skip
            undecided = undecided | (spare <= margin)
            pending = pending | (count > LIST) | (target > everything - margin)
            pending = pending | ((base > 0) & (target < base + margin))
            if not pending:
                token = find_equal(
                    chosen.to(tl.pointer_type(tl.float32)), chosen + LIST, count, n, value, first,
                    rank.to(tl.int64), True, TILE,
                )  # fmt: skip
            status = tl.where(pending, PENDING, tl.where(undecided, UNDECIDED, DONE))
    tl.store(tokens_ptr + draw, token)
    tl.store(status_ptr + draw, status)
