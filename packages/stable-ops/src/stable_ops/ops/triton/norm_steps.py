"""The steps of layer_norm and rms_norm on a GPU: float64 inside, few conversions.

The sums of x and x^2 are taken in one pass, and the variance times n^2 is n sum(x^2) - sum(x)^2. That
cancels where the mean is far from zero; such rows are summed again about a number near the mean. All sums
are float64, and their order depends on the length of a row alone.

A 16-bit result is made from the bits of y 2^-896, whose exponent field is that of a float32 y: cut off after
21 bits, with a last bit set for what was cut, and rounded by the hardware. Something always was cut: the
result is rational, and so possibly a tie of the format, only where the root is. Rows where float64 finds the
root exact, and rows with an infinity, a NaN or an overflow among their results, are done again with a
division and a rounding that looks at all bits.
"""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

import os

import triton
import triton.language as tl

from stable_ops.ops.triton.arithmetic import round_once

# The interpreter calls Python for each pair of a reduction that numpy does not know.
INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
_DOWN = tl.constexpr(2.0**-896)
# The high word of 2^128 2^-896, read as a float32.
OVERFLOW = tl.constexpr(1.875 * 2.0**-96)
# Keep the square of the root from overflow beside a huge eps, and from vanishing beside a tiny one.
_HUGE_EPS = tl.constexpr(1e150)
# Squared mean in variances, from which on a row is summed again.
_FAR = tl.constexpr(16.0)


@triton.jit
def double(value: tl.constexpr):
    """A float64 constant; the language makes float32 of a literal."""
    return tl.full([1], value, tl.float64)


# A float32 from the high word of a float64, with the last bit set, and its rounding to 16 bits; for two.
# The compiler makes twice as many instructions of the same in its own language.
_CUT = """{{
    .reg .b32 low, cut0, cut1;
    .reg .b32 high0, high1;
    mov.b64 {{low, high0}}, $3;
    mov.b64 {{low, high1}}, $4;
    mad.lo.s32 cut0, high0, 8, 1;
    mad.lo.s32 cut1, high1, 8, 1;
    lop3.b32 cut0, cut0, 0x80000000, high0, 0xb8;
    lop3.b32 cut1, cut1, 0x80000000, high1, 0xb8;
    cvt.rn.{pair}.f32 $0, cut1, cut0;
    mov.b32 $1, high0;
    mov.b32 $2, high1;
}}"""
_CUT_BFLOAT16 = tl.constexpr(_CUT.format(pair="bf16x2"))
_CUT_FLOAT16 = tl.constexpr(_CUT.format(pair="f16x2"))


@triton.jit
def shorten(small, dtype: tl.constexpr, CUT: tl.constexpr):
    """y 2^-896 to 16 bits with one rounding, and a float32 at least `OVERFLOW` or NaN where that went wrong.

    Below 2^-126 y is cut at 2^-178 first, far below half of the least subnormal number. Without CUT nothing
    is cut off, as of the product of two 16-bit numbers, which has at most 22 bits.
    """
    if CUT and not INTERPRETED and dtype == tl.bfloat16:
        near, high = tl.inline_asm_elementwise(
            _CUT_BFLOAT16, "=r,=f,=f,d,d", [small], dtype=(tl.bfloat16, tl.float32), is_pure=True, pack=2
        )
    elif CUT and not INTERPRETED:
        near, high = tl.inline_asm_elementwise(
            _CUT_FLOAT16, "=r,=f,=f,d,d", [small], dtype=(tl.float16, tl.float32), is_pure=True, pack=2
        )
    else:
        whole = small.to(tl.int64, bitcast=True)
        high = (whole >> 32).to(tl.int32)
        bits = (high * 8) | 1 if CUT else (whole >> 29).to(tl.int32)
        bits = (bits & 0x7FFFFFFF) | (high & -0x80000000)
        near = bits.to(tl.float32, bitcast=True).to(dtype)
        high = high.to(tl.float32, bitcast=True)
    return near, tl.abs(high)


@triton.jit
def worse(a, b):
    """The larger of two, NaN if either is: the combination of `worst_of`."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def worst_of(alarm):
    """The largest of a tile, NaN if one is."""
    if INTERPRETED:
        worst = tl.max(tl.where(alarm == alarm, alarm, float("inf")))
    else:
        worst = tl.reduce(alarm, None, worse)
    return worst


@triton.jit
def _add_pairs(a, b, c, d):
    return a + c, b + d


@triton.jit
def sum_rows(first, second, CENTRE: tl.constexpr):
    """Both sums over the columns; without CENTRE the first is not used."""
    if not CENTRE:
        second = tl.sum(second, axis=1)
        first = second
    elif INTERPRETED:
        first = tl.sum(first, axis=1)
        second = tl.sum(second, axis=1)
    else:
        first, second = tl.reduce((first, second), 1, _add_pairs)
    return first, second


@triton.jit
def mean_of(first, n, one_over_n):
    """first / n, correctly rounded where it is a float64: a number that equals its mean leaves exactly 0."""
    near = first * one_over_n
    return tl.fma(tl.fma(-near, n, first), one_over_n, near)


@triton.jit
def is_far(first, second, n):
    """Whether these sums, plain and of squares, are of numbers so far from 0 that their mean goes first."""
    return n * second * _FAR < (_FAR + 1) * first * first


@triton.jit
def _inverse_root(square):
    """square^-1/2 within two ulp: the device's estimate, 2^-20 off, and one step of the third order."""
    if INTERPRETED:
        return tl.rsqrt(square)
    else:
        y = tl.inline_asm_elementwise(
            "rsqrt.approx.ftz.f64 $0, $1;", "=d,d", [square], dtype=tl.float64, is_pure=True, pack=1
        )
        off = tl.fma(-square * y, y, double(1.0))
        return tl.fma(y * off, tl.fma(off, double(0.375), double(0.5)), y)


@triton.jit
def root_of(first, second, n, EPS: tl.constexpr, CENTRE: tl.constexpr):
    """n times the root times a power of two, that power, the root's inverse, is the root exact in float64."""
    unit = double(2.0**-80 if EPS > _HUGE_EPS else 2.0**80)
    total = n * second
    if CENTRE:
        total -= first * first
    square = total * unit * unit + double(EPS) * (n * unit) * (n * unit)
    # The device's estimate for an infinity is 0, from which the step makes NaN.
    inverse = tl.where(square == float("inf"), 0.0, _inverse_root(square))
    root = square * inverse
    root = tl.fma(inverse * 0.5, tl.fma(-root, root, square), root)
    rational = tl.fma(root, root, -square) == 0
    root = tl.where(square == float("inf"), square, root)
    return root, unit, n * unit * inverse, rational


@triton.jit
def _again(ptr, place, inside):
    """Read once more, from the first cache; the modifier keeps the compiler from holding what it had."""
    return tl.load(ptr + place, mask=inside, other=0.0, cache_modifier=".ca").to(tl.float64)


@triton.jit
def _small(b):
    """b 2^-896 of a 16-bit b; an infinity or NaN becomes a number that `shorten` reports."""
    if b.dtype == tl.bfloat16 and not INTERPRETED:
        # Two at a time, as they are loaded.
        small = tl.inline_asm_elementwise(
            """{
            .reg .b32 low, high;
            shl.b32 low, $2, 16;
            shr.s32 low, low, 3;
            shr.s32 high, $2, 3;
            and.b32 low, low, 0x8fffe000;
            and.b32 high, high, 0x8fffe000;
            mov.b64 $0, {0, low};
            mov.b64 $1, {0, high};
            }""",
            "=d,=d,r",
            [b],
            dtype=tl.float64,
            is_pure=True,
            pack=2,
        )
    else:
        bits = b.to(tl.float32).to(tl.int32, bitcast=True)
        high = (bits >> 3) & -0x70000001
        small = (high.to(tl.int64) << 32).to(tl.float64, bitcast=True)
    return small


@triton.jit
def _weight(w, OFFSET: tl.constexpr):
    w = w.to(tl.float64)
    if OFFSET != 0.0:
        w += double(OFFSET)
    return w


@triton.jit
def quick(
    e, w, b, factor, dtype: tl.constexpr,
    OFFSET: tl.constexpr, TWICE: tl.constexpr, SCALE: tl.constexpr, SHIFT: tl.constexpr,
):  # fmt: skip
    """The rounded results for a factor that is not rational, and an alarm (see `shorten`)."""
    alarm = tl.full([1, 1], 0.0, tl.float32)
    narrow: tl.constexpr = dtype != tl.float32
    # Whether the last rounding is of a number that may be a tie in spite of the factor.
    plain: tl.constexpr = (
        narrow and not (SHIFT and b.dtype != dtype) and not (TWICE and (OFFSET != 0.0 or w.dtype != dtype))
    )
    if TWICE:
        if narrow:
            e, alarm = shorten(e * (factor * double(_DOWN)), dtype, True)
        else:
            e = (e * factor).to(tl.float32)
        y = e.to(tl.float64)
        factor = double(1.0)
    else:
        y = e
    if SCALE:
        y *= _weight(w, OFFSET)
    if plain:
        factor = factor * double(_DOWN)
    y = y * factor
    if SHIFT:
        y += _small(b) if plain else b.to(tl.float64)
    if plain:
        # The product of two 16-bit numbers is exact, with nothing cut off.
        y, more = shorten(y, dtype, not TWICE)
        alarm = worse(alarm, more) if TWICE else more
    else:
        y = round_once(y, dtype)
    return y, alarm


@triton.jit
def read_sums(
    x_ptr, place, there, c, begin, end,
    CENTRE: tl.constexpr, FAR: tl.constexpr, EVEN: tl.constexpr, ROWS: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """Both sums over columns from begin to end of rows that begin at `place` (ROWS, 1), STEP at a time."""
    column = tl.arange(0, STEP)[None, :]
    first = tl.full([ROWS, STEP], 0.0, tl.float64)
    second = tl.full([ROWS, STEP], 0.0, tl.float64)
    for start in range(begin, end, STEP):
        inside = there if EVEN else there & (start + column < end)
        e = tl.load(x_ptr + (place + start + column), mask=inside, other=0.0).to(tl.float64)
        if FAR:
            e = tl.where(inside, e - c[:, None], 0.0)
        if CENTRE:
            first += e
        second += e * e
    return sum_rows(first, second, CENTRE)


@triton.jit
def write_row(
    x_ptr, w_ptr, b_ptr, y_ptr, begin, end, c, mean, factor, rational,
    OFFSET: tl.constexpr, CENTRE: tl.constexpr, FAR: tl.constexpr, TWICE: tl.constexpr, SCALE: tl.constexpr,
    SHIFT: tl.constexpr, EVEN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The quick results from begin to end of a row; answers the worst alarm."""
    column = tl.arange(0, BLOCK)[None, :]
    worst = tl.where(rational, 1.0, 0.0)[:, None] + tl.full([1, BLOCK], 0.0, tl.float32)
    for start in range(begin, end, BLOCK):
        place = start + column
        inside = tl.full([1, BLOCK], 1, tl.int1) if EVEN else place < end
        w = tl.load(w_ptr + place, mask=inside, other=0.0)
        b = tl.load(b_ptr + place, mask=inside, other=0.0)
        e = tl.load(x_ptr + place, mask=inside, other=0.0).to(tl.float64)
        if FAR:
            e -= c[:, None]
        if CENTRE:
            e -= mean[:, None]
        y, alarm = quick(e, w, b, factor[:, None], x_ptr.dtype.element_ty, OFFSET, TWICE, SCALE, SHIFT)
        tl.store(y_ptr + place, y, mask=inside)
        worst = worse(worst, alarm)
    return worst_of(worst)


@triton.jit
def slow_rows(
    x_ptr, w_ptr, b_ptr, y_ptr, place, there, begin, end, c, first, root, unit, n,
    OFFSET: tl.constexpr, CENTRE: tl.constexpr, TWICE: tl.constexpr, SCALE: tl.constexpr, SHIFT: tl.constexpr,
    STEP: tl.constexpr,
):  # fmt: skip
    """Results with one division, after all that is exact if the root is, for the rows that are `there`."""
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    column = tl.arange(0, STEP)[None, :]
    for start in range(begin, end, STEP):
        inside = start + column < end
        y = tl.load(x_ptr + (place + start + column), mask=there & inside, other=0.0).to(tl.float64)
        if CENTRE:
            y = n * (y - c[:, None]) - first[:, None]
        else:
            y *= n
        if TWICE:
            y = round_once(y * unit / root[:, None], dtype).to(tl.float64)
        if SCALE:
            y *= _weight(tl.load(w_ptr + start + column, mask=inside, other=0.0), OFFSET)
        if not TWICE:
            y = y * unit / root[:, None]
        if SHIFT:
            y += tl.load(b_ptr + start + column, mask=inside, other=0.0).to(tl.float64)
        tl.store(y_ptr + (place + start + column), round_once(y, dtype), mask=there & inside)


@triton.jit
def finish_row(
    x_ptr, w_ptr, b_ptr, y_ptr, begin, end, c, far, first, second, n,
    EPS: tl.constexpr, OFFSET: tl.constexpr, CENTRE: tl.constexpr, TWICE: tl.constexpr, SCALE: tl.constexpr,
    SHIFT: tl.constexpr, EVEN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """All results from begin to end of a row, from the sums over the whole of it about c."""
    root, unit, factor, rational = root_of(first, second, n, EPS, CENTRE)
    mean = first / n
    if far:
        worst = write_row(
            x_ptr, w_ptr, b_ptr, y_ptr, begin, end, c, mean, factor, rational,
            OFFSET, CENTRE, True, TWICE, SCALE, SHIFT, EVEN, BLOCK,
        )  # fmt: skip
    else:
        worst = write_row(
            x_ptr, w_ptr, b_ptr, y_ptr, begin, end, c, mean, factor, rational,
            OFFSET, CENTRE, False, TWICE, SCALE, SHIFT, EVEN, BLOCK,
        )  # fmt: skip
    # Of a row in parts, each does again its own: for an irrational root the results are the same.
    if not (worst < OVERFLOW):
        base = tl.full([1, 1], 0, tl.int32)
        slow_rows(
            x_ptr, w_ptr, b_ptr, y_ptr, base, base == 0, begin, end, c, first, root, unit, n,
            OFFSET, CENTRE, TWICE, SCALE, SHIFT, BLOCK,
        )  # fmt: skip
