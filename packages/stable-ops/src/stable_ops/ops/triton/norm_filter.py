"""Rounded results of layer_norm and rms_norm for four 16-bit numbers: float32 where it is certain.

Four numbers are computed in float32 and rounded from both ends of an interval about each. Where both give
the same, that is the rounded result: the interval holds the exact one, and rounding is monotone. Where they
differ, which is one in a few hundred, the four are computed in float64 by the thread that has them.

A product is at most 6 2^-24 relative off: 1.25 for x less a float32 mean, 1.25 for the factor, 0.5 for what
is left of the mean and for what that leaves out, 1 each for adding it, an offset of the weight, and the
product with it. Half the interval is 2^-21 of it, or of it and the bias together, which are rounded once
more; the ends are rounded too. float32 is not trusted where

- something before a bfloat16 result may be subnormal: where the result is below 2^-63 or, without a mean,
  above 2^65; with one, where the product and the bias are below 2^-100, or the mean is below 2^-60 deviations
  (float16 has no such numbers);
- the mean is within 2^-22 of a number of the format that it is not: the difference from that one cancels;
- the factor is not between 2^-30 and 2^30 (bfloat16: 2^-60 and 2^60), or not a number.

A tie is never certain, so it is settled in float64, where a row with an irrational root has none. Rows with a
rational one are done again, with a division (see `norm_steps`).
"""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

import triton
import triton.language as tl

from stable_ops.ops.triton.arithmetic import round_once
from stable_ops.ops.triton.norm_steps import INTERPRETED, double

_NEAR = tl.constexpr(2.0**-22)
_DOWN = tl.constexpr(2.0**-896)
_FLAGS = ("bf16", "centre", "twice", "scale", "shift", "offset")
# 2^-21, and 1 - 2^-21 and 1 + 2^-21, in the notation of the instructions; the same times 2^-66.
_WIDTH, _BELOW, _ABOVE = "0f35000000", "0f3F7FFFF8", "0f3F800004"
_LIFTED_BELOW, _LIFTED_ABOVE = "0f1E7FFFF8", "0f1E800004"
_LIFT = tl.constexpr(2.0**66)
# 2^-100.
_LEAST = "0f0D800000"
# `norm_steps.OVERFLOW`.
_OVERFLOW = "0f0FF00000"


def _unpacked(names: tuple[str, str], source: str, *, bf16: bool) -> str:
    low, high = names
    if bf16:
        # Not a shift and a mask, in which the compiler would see what the sums were taken of, and keep it.
        return f"prmt.b32 {low}, {source}, 0, 0x1044; prmt.b32 {high}, {source}, 0, 0x3244;"
    return f"mov.b32 {{h0, h1}}, {source}; cvt.f32.f16 {low}, h0; cvt.f32.f16 {high}, h1;"


def _quick(i: int, *, bf16: bool, centre: bool, twice: bool, scale: bool, shift: bool, offset: bool) -> str:
    """Ends l and u of the interval of number i; `differ` if it is too small and that shows here."""
    product = scale and not twice
    lines = [f"sub.f32 v, x{i}, $4; fma.rn.f32 t{i}, v, $6, $5;" if centre else f"mul.f32 t{i}, x{i}, $6;"]
    if shift:
        lines += [
            f"fma.rn.f32 v, t{i}, w{i}, b{i};" if product else f"add.f32 v, t{i}, b{i};",
            # The product is at most as large as the sum.
            f"abs.f32 r, v; abs.f32 s, b{i}; add.f32 r, r, s; neg.f32 s, r;",
            f"fma.rn.f32 u{i}, r, {_WIDTH}, v; fma.rn.f32 l{i}, s, {_WIDTH}, v;",
        ]
    else:
        if product:
            weight = f"add.f32 v, w{i}, $11;" if offset else f"mov.f32 v, w{i};"
            lines.append(f"{weight} mul.f32 t{i}, t{i}, v;")
        below, above = (_LIFTED_BELOW, _LIFTED_ABOVE) if bf16 and not centre else (_BELOW, _ABOVE)
        lines.append(f"mul.f32 l{i}, t{i}, {below}; mul.f32 u{i}, t{i}, {above}; abs.f32 r, t{i};")
    if bf16 and centre:
        lines.append(f"setp.lt.or.f32 differ, r, {_LEAST}, differ;")
    return "\n".join(lines)


# Of two and two bfloat16 results whether any is below 2^-63 or above 2^65: bits 13 and 14 are then alike.
_OUTSIDE = """
    shl.b32 a0, lo0, 1; xor.b32 a0, a0, lo0;
    shl.b32 a1, lo1, 1; xor.b32 a1, a1, lo1;
    and.b32 a0, a0, a1; and.b32 a0, a0, 0x40004000;
    setp.ne.or.b32 differ, a0, 0x40004000, differ;
"""


def _exact(i: int, *, centre: bool, twice: bool, scale: bool, shift: bool, offset: bool) -> str:
    """Number i as l, from float64: cut off after 21 bits and the last set, or an infinity or NaN."""
    lines = [f"cvt.f64.f32 d, x{i};"]
    if centre:
        lines.append("cvt.f64.f32 g, $8; sub.f64 d, d, g; sub.f64 d, d, $9;")
    if scale and not twice:
        lines.append(f"cvt.f64.f32 g, w{i};")
        if offset:
            lines.append("cvt.f64.f32 o, $11; add.f64 g, g, o;")
        lines.append("mul.f64 d, d, g;")
    lines.append("mul.f64 d, d, $10;")
    if shift:
        # The bias times 2^-896.
        lines.append(f"cvt.f64.f32 g, b{i}; fma.rn.f64 d, g, 0d07F0000000000000, d;")
    lines += [
        "mov.b64 {low, high}, d; mad.lo.s32 low, high, 8, 1; lop3.b32 low, low, 0x80000000, high, 0xb8;",
        # Times 2^896, where the cut one is no float32.
        "mul.f64 d, d, 0d77F0000000000000; cvt.rn.f32.f64 r, d; mov.b32 v, high; abs.f32 v, v;",
        f"mov.b32 s, low; setp.lt.f32 fits, v, {_OVERFLOW}; selp.f32 l{i}, s, r, fits;",
    ]
    return "\n".join(lines)


def _code(*, bf16: bool, **form: bool) -> str:
    """The instructions for four numbers.

    Operands: 0 the results; 1, 2, 3 the fours of x, weight and bias; 4 the mean, 5 what is left of it times
    the factor, with a minus, 6 the factor, 2^66 times for bfloat16 without a mean, so that its product with a
    number is not subnormal; 7 not 0 for a row in which nothing is certain; 8 what was subtracted before the
    sums were taken, 9 the mean of the differences, 10 the factor times 2^-896; 11 the offset.
    """
    to_pair = "cvt.rn.bf16x2.f32" if bf16 else "cvt.rn.f16x2.f32"
    lines = [
        ".reg .pred differ, fits;",
        ".reg .b16 h0, h1;",
        ".reg .b32 lo0, lo1, hi0, hi1, low, high, a0, a1;",
        ".reg .f32 x<4>, w<4>, b<4>, t<4>, l<4>, u<4>, v, r, s;",
        ".reg .f64 d, g, o;",
    ]
    for name, operand, used in (("x", 1, True), ("w", 2, form["scale"]), ("b", 3, form["shift"])):
        if used:
            lines.append(f"mov.b64 {{a0, a1}}, ${operand};")
            lines.append(_unpacked((f"{name}0", f"{name}1"), "a0", bf16=bf16))
            lines.append(_unpacked((f"{name}2", f"{name}3"), "a1", bf16=bf16))
    lines.append("setp.ne.f32 differ, $7, 0f00000000;")
    lines += [_quick(i, bf16=bf16, **form) for i in range(4)]
    lines += [
        f"{to_pair} lo0, l1, l0; {to_pair} hi0, u1, u0; {to_pair} lo1, l3, l2; {to_pair} hi1, u3, u2;",
        "setp.ne.or.b32 differ, lo0, hi0, differ; setp.ne.or.b32 differ, lo1, hi1, differ;",
    ]
    if bf16 and not form["centre"]:
        lines.append(_OUTSIDE)
    lines += [
        # All threads of a warp or none: that takes fewer instructions.
        "vote.sync.any.pred differ, differ, 0xffffffff;",
        "@!differ bra.uni CERTAIN;",
        *(_exact(i, **form) for i in range(4)),
        f"{to_pair} lo0, l1, l0; {to_pair} lo1, l3, l2;",
        "CERTAIN:",
    ]
    if form["twice"] and form["scale"]:
        # The product of two 16-bit numbers is exact in float32 wherever its rounding depends on it.
        lines += [
            _unpacked(("x0", "x1"), "lo0", bf16=bf16),
            _unpacked(("x2", "x3"), "lo1", bf16=bf16),
            *(f"mul.f32 x{i}, x{i}, w{i};" for i in range(4)),
            f"{to_pair} lo0, x1, x0; {to_pair} lo1, x3, x2;",
        ]
    lines.append("mov.b64 $0, {lo0, lo1};")
    return "{\n" + "\n".join(lines) + "\n}"


# By the bits of the flags: the language builds no strings.
_CODES = tl.constexpr(
    tuple(
        _code(**{name: bool(bits >> i & 1) for i, name in enumerate(_FLAGS)})
        for bits in range(2 ** len(_FLAGS))
    )
)


@triton.jit
def split(fours, BF16: tl.constexpr):
    """The first to the fourth 16-bit number of each int64, as float32."""
    low = fours.to(tl.int32)
    high = (fours >> 32).to(tl.int32)
    a, b = _halves(low, BF16)
    c, d = _halves(high, BF16)
    return a, b, c, d


@triton.jit
def _halves(pairs, BF16: tl.constexpr):
    if BF16:
        return (pairs << 16).to(tl.float32, bitcast=True), (pairs & -65536).to(tl.float32, bitcast=True)
    else:
        first = pairs.to(tl.int16).to(tl.float16, bitcast=True)
        second = (pairs >> 16).to(tl.int16).to(tl.float16, bitcast=True)
        return first.to(tl.float32), second.to(tl.float32)


@triton.jit
def _trusted(mean, factor, dtype: tl.constexpr, CENTRE: tl.constexpr):
    """Whether float32 is as exact as the module says, in rows with this mean and factor."""
    far: tl.constexpr = 2.0**60 if dtype == tl.bfloat16 else 2.0**30
    sure = (factor > 1 / far) & (factor < far)
    if CENTRE:
        near = mean.to(tl.float32).to(dtype).to(tl.float64)
        sure = sure & ((mean == near) | (tl.abs(mean - near) >= _NEAR * tl.abs(mean)))
        if dtype == tl.bfloat16:
            sure = sure & (tl.abs(mean) * factor * far >= 1.0)
    return sure


@triton.jit
def _slowly(
    x, w, b, c, mean, factor, dtype: tl.constexpr,
    OFFSET: tl.constexpr, CENTRE: tl.constexpr, TWICE: tl.constexpr, SCALE: tl.constexpr, SHIFT: tl.constexpr,
):  # fmt: skip
    """One of four numbers in float64, as 16 bits of an int64; for the interpreter."""
    y = x.to(tl.float64)
    if CENTRE:
        y = (y - c[:, None]) - mean[:, None]
    if TWICE:
        y = round_once(y * factor[:, None], dtype).to(tl.float64)
    if SCALE:
        y *= w.to(tl.float64) + OFFSET
    if not TWICE:
        y *= factor[:, None]
    if SHIFT:
        y += b.to(tl.float64)
    return round_once(y, dtype).to(tl.int16, bitcast=True).to(tl.int64) & 0xFFFF


@triton.jit
def results(
    x, w, b, c, mean, factor, dtype: tl.constexpr,
    OFFSET: tl.constexpr, CENTRE: tl.constexpr, TWICE: tl.constexpr, SCALE: tl.constexpr, SHIFT: tl.constexpr,
):  # fmt: skip
    """Fours of results of fours x `(rows, n)`; not for rows with a rational root.

    w and b are fours `(1, n)`; of each row `(rows,)` c is what was subtracted first, mean that of the
    differences.
    """
    BF16: tl.constexpr = dtype == tl.bfloat16
    if INTERPRETED:
        x0, x1, x2, x3 = split(x, BF16)
        w0, w1, w2, w3 = split(w, BF16)
        b0, b1, b2, b3 = split(b, BF16)
        y0 = _slowly(x0, w0, b0, c, mean, factor, dtype, OFFSET, CENTRE, TWICE, SCALE, SHIFT)
        y1 = _slowly(x1, w1, b1, c, mean, factor, dtype, OFFSET, CENTRE, TWICE, SCALE, SHIFT)
        y2 = _slowly(x2, w2, b2, c, mean, factor, dtype, OFFSET, CENTRE, TWICE, SCALE, SHIFT)
        y3 = _slowly(x3, w3, b3, c, mean, factor, dtype, OFFSET, CENTRE, TWICE, SCALE, SHIFT)
        return y0 | (y1 << 16) | (y2 << 32) | (y3 << 48)
    else:
        whole = c + mean
        high = whole.to(tl.float32)
        rest = (high.to(tl.float64) - whole) * factor
        doubt = tl.where(_trusted(whole, factor, dtype, CENTRE), 0.0, 1.0)
        offset = tl.full([1, 1], OFFSET, tl.float32)
        lifted = factor * double(_LIFT) if BF16 and not CENTRE else factor
        down = factor * double(_DOWN)
        flags: tl.constexpr = (
            BF16 * 1 + CENTRE * 2 + TWICE * 4 + SCALE * 8 + SHIFT * 16 + (OFFSET != 0.0) * 32
        )
        return tl.inline_asm_elementwise(
            _CODES[flags],
            "=l,l,l,l,f,f,f,f,f,d,d,f",
            [
                x, w, b, high[:, None], rest.to(tl.float32)[:, None], lifted.to(tl.float32)[:, None],
                doubt[:, None], c.to(tl.float32)[:, None], mean[:, None], down[:, None], offset,
            ],
            dtype=tl.int64,
            is_pure=True,
            pack=1,
        )  # fmt: skip
