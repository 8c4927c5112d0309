"""Long rows by many programs each: a sample plans, one read surveys, one read collects, a list answers.

1. `plan`: a sample of the row suggests thresholds near the border of the nucleus and near the draw.
2. `survey`: float32 masses above each threshold, over all of the row, tell between which the two lie.
3. `bracket` picks the thresholds on either side of each; it is a kernel so that no piece repeats it.
4. `collect`: the float64 mass of the row and that above each of the two pairs of thresholds; the elements
   between the thresholds of a pair go to a list.
5. `conclude`: the answer from the lists, or PENDING where a list is too long or does not hold it.

The sample decides how long the lists are, and nothing else.
"""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

import triton
import triton.language as tl

from stable_ops.ops.triton.sampling_lists import append
from stable_ops.ops.triton.sampling_search import (
    COLDEST,
    HOTTEST,
    MARGIN,
    POINTS,
    all_of,
    exponent_scale,
    of_threads,
    read,
    tile,
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
# Columns of what is known of a draw: scale, top_p, u, peak, and the ends of the two lists.
STATE = tl.constexpr(8)
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
def _found(x, weights, target, low, high, ROUNDS: tl.constexpr, THREADS: tl.constexpr):
    """Roughly the largest t with A(x >= t) >= target: so many times a sixteenth of [low, high)."""
    for _ in tl.static_range(ROUNDS):
        step = (high - low) / POINTS
        masses = tl.sum(float_points(x, weights, low, step, THREADS), axis=0)
        reached = tl.maximum(tl.sum((masses >= target).to(tl.int32), axis=0), 1)
        low = low + step * (reached - 1)
        high = low + step
    return low


@triton.jit
def _float1(x, weight, low, step, K: tl.constexpr):
    return of_threads(tl.where(x >= low + step * K, weight, 0.0))


@triton.jit
def _float2(x, weight, low, step, K: tl.constexpr):
    return tl.join(_float1(x, weight, low, step, K), _float1(x, weight, low, step, K + 8))


@triton.jit
def _float4(x, weight, low, step, K: tl.constexpr):
    return tl.join(_float2(x, weight, low, step, K), _float2(x, weight, low, step, K + 4))


@triton.jit
def _float8(x, weight, low, step, K: tl.constexpr):
    return tl.join(_float4(x, weight, low, step, K), _float4(x, weight, low, step, K + 2))


@triton.jit
def float_points(x, weight, low, step, THREADS: tl.constexpr):
    """As `above_points`, for float32 numbers."""
    joined = tl.join(_float8(x, weight, low, step, 0), _float8(x, weight, low, step, 1))
    return tl.reshape(joined, [THREADS, POINTS])


@triton.jit
def _deviation(x, weights, squares, at, width, total):
    """The standard error of the place where a share of the mass is reached, from the sample's own masses."""
    share = all_of(tl.where(x >= at, weights, 0.0)) / total
    head = all_of(tl.where(x >= at, squares, 0.0))
    tail = all_of(tl.where(x < at, squares, 0.0))
    near = all_of(tl.where(tl.abs(x - at) < width, weights, 0.0))
    variance = (1 - share) * (1 - share) * head + share * share * tail
    return 2 * width * tl.sqrt(variance) / tl.maximum(near, 1e-30 * total)


@triton.jit(do_not_specialize=["n", "size", "begin"])
def plan(
    x_ptr, stride, n, size, begin, options_ptr, points_ptr, counters_ptr, state_ptr,
    PER_ROW: tl.constexpr, OWN_STREAM: tl.constexpr, FILTERED: tl.constexpr, LIST: tl.constexpr,
    HEIGHT: tl.constexpr, THREADS: tl.constexpr,
):  # fmt: skip
    """Thresholds for each draw, shape (draws, POINTS), the sample's largest first; and counters at zero."""
    program = tl.program_id(0)
    row, number = (begin + program) // size, (begin + program) % size
    temperature, top_p, u = _draw_of(options_ptr, row, number, PER_ROW, OWN_STREAM)
    sample = 4 * HEIGHT * THREADS
    # Runs of RUN neighbours, evenly spread; written so that the compiler sees that a thread's four adjoin.
    t = tl.arange(0, THREADS)[None, :, None]
    run = tl.arange(0, HEIGHT)[:, None, None] * (THREADS // 2) + t // 2
    place = run * (n // sample) * RUN + (t % 2) * 4 + tl.arange(0, 4)[None, None, :]
    x = tl.load(x_ptr + row.to(tl.int64) * stride + place).to(tl.float32)
    x = tl.where((x > -_HUGE) & (x < _HUGE), x, -_HUGE)
    peak = tl.max(x)
    least = tl.maximum(tl.min(tl.where(x > -_HUGE, x, peak)), peak - 3e38)
    peak = tl.where(peak > -_HUGE, peak, 0.0)
    exact_scale = exponent_scale(temperature)
    state = state_ptr + program * STATE
    tl.store(state, exact_scale)
    tl.store(state + 1, top_p)
    tl.store(state + 2, u)
    j = tl.arange(0, POINTS)
    if FILTERED:
        # A little more than a quarter of a list: what filters leave is rarely longer.
        one = tl.where(x > -_HUGE, 1.0, 0.0)
        low = _found(x, one, 0.3 * LIST * sample / n, least, peak, 2, THREADS)
        points = peak - (peak - low) / POINTS * j
    else:
        scale = exact_scale.to(tl.float32)
        weights = tl.where(x > -_HUGE, tl.exp2(tl.maximum((x - peak) * scale, -100.0)), 0.0)
        squares = weights * weights
        total = all_of(weights)
        # Below it a sample of this size holds next to nothing.
        least = tl.maximum(least, peak - 60.0 / scale)
        p_at = _found(x, weights, top_p.to(tl.float32) * total, least, peak, 2, THREADS)
        u_at = _found(x, weights, (u * top_p).to(tl.float32) * total, least, peak, 2, THREADS)
        width = tl.maximum((peak - least) / 32, 1e-30)
        p_off = _deviation(x, weights, squares, p_at, width, total)
        u_off = _deviation(x, weights, squares, u_at, width, total)
        # Seven around each of the two, and two for a sample that misleads: its largest, and far below.
        k = tl.where(j < 9, j - 5, j - 12).to(tl.float32)
        off = (0.5 * k + 0.05 * k * k * k) * tl.where(j < 9, p_off, u_off)
        points = tl.where(j < 9, p_at, u_at) + tl.minimum(tl.maximum(off, -1e30), 1e30)
        points = tl.where(j == 1, p_at - 0.25 * (peak - p_at), points)
    points = tl.where(j == 0, peak, points)
    tl.store(points_ptr + program * POINTS + j, tl.where(points == points, points, 0.0))
    # Apart by a sector each, so that lists do not wait for one another.
    tl.store(counters_ptr + program * 32 + tl.arange(0, 32), tl.zeros([32], tl.int32))


@triton.jit
def _at1(x, weight, points_ptr, K: tl.constexpr):
    return of_threads(tl.where(x >= tl.load(points_ptr + K), weight, 0.0))


@triton.jit
def _at2(x, weight, points_ptr, K: tl.constexpr):
    return tl.join(_at1(x, weight, points_ptr, K), _at1(x, weight, points_ptr, K + 8))


@triton.jit
def _at4(x, weight, points_ptr, K: tl.constexpr):
    return tl.join(_at2(x, weight, points_ptr, K), _at2(x, weight, points_ptr, K + 4))


@triton.jit
def _at8(x, weight, points_ptr, K: tl.constexpr):
    return tl.join(_at4(x, weight, points_ptr, K), _at4(x, weight, points_ptr, K + 2))


@triton.jit(do_not_specialize=["n", "size", "begin"])
def survey(
    x_ptr, stride, n, size, begin, pieces, state_ptr, points_ptr, peaks_ptr, masses_ptr,
    FILTERED: tl.constexpr, HEIGHT: tl.constexpr, THREADS: tl.constexpr,
):  # fmt: skip
    """Of each piece the largest element and, above each threshold, the mass, or with FILTERED the count."""
    program = tl.program_id(0)
    draw, piece = program // pieces, program % pieces
    row = (begin + draw) // size
    x = read(x_ptr + row.to(tl.int64) * stride, piece * (4 * HEIGHT * THREADS) + tile(HEIGHT, THREADS), n)
    scale = tl.load(state_ptr + draw * STATE).to(tl.float32)
    thresholds = points_ptr + draw * POINTS
    near = tl.load(thresholds)
    if FILTERED:
        weights = tl.where(x > -float("inf"), 1.0, 0.0)
    else:
        weights = tl.exp2(tl.minimum((x - near) * scale, 60.0))
    joined = tl.join(_at8(x, weights, thresholds, 0), _at8(x, weights, thresholds, 1))
    found = tl.sum(tl.reshape(joined, [THREADS, POINTS]), axis=0)
    j = tl.arange(0, POINTS)
    tl.store(masses_ptr + program * 2 * POINTS + j, found)
    tl.store(masses_ptr + program * 2 * POINTS + POINTS, all_of(weights))
    # -2^24 for a NaN, which no maximum would keep.
    bad = tl.max(tl.max(tl.max((x != x).to(tl.int32), axis=2), axis=0), axis=0)
    top = tl.max(tl.max(tl.max(x, axis=2), axis=0), axis=0)
    tl.store(peaks_ptr + program, tl.where(bad > 0, float("nan"), top))


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
def bracket(
    pieces, points_ptr, peaks_ptr, masses_ptr, state_ptr, FILTERED: tl.constexpr, LIST: tl.constexpr,
    PIECES: tl.constexpr,
):  # fmt: skip
    """Of each draw the largest element and the ends of its lists: p_high, p_low, u_high, u_low."""
    draw = tl.program_id(0)
    j = tl.arange(0, POINTS)
    s = tl.arange(0, PIECES)
    rows = masses_ptr + (draw * pieces + s) * 2 * POINTS
    masses = tl.sum(tl.load(rows[:, None] + j[None, :], mask=s[:, None] < pieces, other=0.0), axis=0)
    points = tl.load(points_ptr + draw * POINTS + j)
    state = state_ptr + draw * STATE
    peaks = tl.load(peaks_ptr + draw * pieces + s, mask=s < pieces, other=-float("inf"))
    bad = tl.max((peaks != peaks).to(tl.int32), axis=0)
    tl.store(state + 3, tl.where(bad > 0, float("nan"), tl.max(peaks, axis=0)).to(tl.float64))
    if FILTERED:
        p_high = tl.full((), _HUGE, tl.float32)
        p_low = tl.min(tl.where(masses <= LIST // 4, points, _HUGE), axis=0)
        u_high, u_low = p_high, p_high
    else:
        total = tl.sum(tl.load(rows + POINTS, mask=s < pieces, other=0.0), axis=0)
        p_high, p_low, u_high, u_low = _brackets(
            points, masses, total, tl.load(state + 1), tl.load(state + 2)
        )
    tl.store(state + 4, p_high.to(tl.float64))
    tl.store(state + 5, p_low.to(tl.float64))
    tl.store(state + 6, u_high.to(tl.float64))
    tl.store(state + 7, u_low.to(tl.float64))


@triton.jit(do_not_specialize=["n", "size", "begin"])
def collect(
    x_ptr, stride, n, size, begin, pieces, state_ptr, exact_ptr, counters_ptr, lists_ptr,
    FILTERED: tl.constexpr, LIST: tl.constexpr, HEIGHT: tl.constexpr, THREADS: tl.constexpr,
):  # fmt: skip
    """Exact masses of each piece, of all of it and above either pair of thresholds; the two lists."""
    program = tl.program_id(0)
    draw, piece = program // pieces, program % pieces
    row = (begin + draw) // size
    place = piece * (4 * HEIGHT * THREADS) + tile(HEIGHT, THREADS)
    x = read(x_ptr + row.to(tl.int64) * stride, place, n)
    state = state_ptr + draw * STATE
    scale = tl.load(state)
    peak = tl.load(state + 3).to(tl.float32)
    p_high = tl.load(state + 4).to(tl.float32)
    p_low = tl.load(state + 5).to(tl.float32)
    u_high = tl.load(state + 6).to(tl.float32)
    u_low = tl.load(state + 7).to(tl.float32)
    if (peak > -float("inf")) & (peak < float("inf")):
        lists = lists_ptr + draw.to(tl.int64) * 4 * LIST
        counters = counters_ptr + draw * 32
        if FILTERED:
            append(x, place, p_low, _HUGE, lists, counters, LIST, HEIGHT, THREADS)
        else:
            if tl.load(state + 1) < 1:
                append(x, place, p_low, p_high, lists, counters, LIST, HEIGHT, THREADS)
            append(x, place, u_low, u_high, lists + 2 * LIST, counters + 16, LIST, HEIGHT, THREADS)
        weights = weigh(x, peak, scale)
        whole = of_threads(weights)
        above_p = of_threads(tl.where(x >= p_high, weights, 0.0))
        above_u = of_threads(tl.where(x >= u_high, weights, 0.0))
        pairs = tl.join(tl.join(whole, above_p), tl.join(above_u, whole))
        sums = tl.sum(tl.reshape(pairs, [THREADS, 4]), axis=0)
        # In the order whole, above_u, above_p, whole.
        tl.store(exact_ptr + program * 4 + tl.arange(0, 4), sums)


@triton.jit(do_not_specialize=["n", "size", "begin"])
def conclude(
    n, size, begin, pieces, options_ptr, state_ptr, exact_ptr, counters_ptr, lists_ptr, few_ptr,
    tokens_ptr, status_ptr, PER_ROW: tl.constexpr, OWN_STREAM: tl.constexpr, FILTERED: tl.constexpr,
    LIST: tl.constexpr, PIECES: tl.constexpr, FEW: tl.constexpr, HEIGHT: tl.constexpr, THREADS: tl.constexpr,
):  # fmt: skip
    """The token of each draw from its lists."""
    draw = tl.program_id(0)
    row, number = (begin + draw) // size, (begin + draw) % size
    state = state_ptr + draw * STATE
    peak = tl.load(state + 3).to(tl.float32)
    token = tl.full((), -1, tl.int64)
    status = tl.full((), REFUSED, tl.int32)
    if (peak > -float("inf")) & (peak < float("inf")):
        few = few_ptr + draw.to(tl.int64) * (2 * FEW + 1)
        s = tl.arange(0, PIECES)
        exact = exact_ptr + (draw * pieces + s) * 4
        total = tl.sum(tl.load(exact, mask=s < pieces, other=0.0), axis=0)
        lists = lists_ptr + draw.to(tl.int64) * 4 * LIST
        p_low = ordered_one(tl.load(state + 5).to(tl.float32))
        first_count = tl.load(counters_ptr + draw * 32)
        if FILTERED:
            token, status = answer(
                lists.to(tl.pointer_type(tl.float32)), lists + LIST, tl.minimum(first_count, LIST), n,
                p_low, peak, total, options_ptr, row, number, few, PER_ROW,
                OWN_STREAM, True, FEW, HEIGHT, THREADS,
            )  # fmt: skip
            status = tl.where(first_count > LIST, PENDING, status)
        else:
            second_count = tl.load(counters_ptr + draw * 32 + 16)
            scale = tl.load(state)
            top_p = tl.load(state + 1)
            u = tl.load(state + 2)
            p_high = ordered_one(tl.load(state + 4).to(tl.float32))
            u_high = ordered_one(tl.load(state + 6).to(tl.float32))
            u_low = ordered_one(tl.load(state + 7).to(tl.float32))
            given = options_of(options_ptr, row, PER_ROW)[0]
            u_base = tl.sum(tl.load(exact + 1, mask=s < pieces, other=0.0), axis=0)
            p_base = tl.sum(tl.load(exact + 2, mask=s < pieces, other=0.0), axis=0)
            margin = total * MARGIN
            undecided = (given != 0) & ((given < COLDEST) | (given > HOTTEST))
            pending = undecided & False
            kept = total
            if top_p < 1:
                target = top_p * total
                token, kept, spare, everything = reach(
                    lists.to(tl.pointer_type(tl.float32)), lists + LIST, tl.minimum(first_count, LIST), n,
                    p_low, p_high, target, p_base, peak, scale,
                    few, True, FEW, HEIGHT, THREADS,
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
            token, kept, spare, everything = reach(
                chosen.to(tl.pointer_type(tl.float32)), chosen + LIST, tl.minimum(count, LIST), n,
                tl.where(in_first, p_low, u_low), tl.where(in_first, p_high, u_high), target, base, peak,
                scale, few, True, FEW, HEIGHT, THREADS,
            )  # fmt: skip
            undecided = undecided | (spare <= margin)
            pending = pending | (count > LIST) | (target > everything - margin)
            pending = pending | ((base > 0) & (target < base + margin))
            status = tl.where(pending, PENDING, tl.where(undecided, UNDECIDED, DONE))
    tl.store(tokens_ptr + draw, token)
    tl.store(status_ptr + draw, status)
