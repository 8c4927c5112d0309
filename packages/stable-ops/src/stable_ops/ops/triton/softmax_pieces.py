"""The softmax family for rows of any length: one program reads its row twice, piece by piece, in float64."""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

import triton
import triton.language as tl

from stable_ops.ops.triton.arithmetic import log1p, round_once
from stable_ops.ops.triton.exponentials import double_exp, double_weights, larger, row_peak, row_sums
from stable_ops.ops.triton.softmax_rows import (
    LOGSUMEXP,
    SOFTMAX,
    load,
    log_probability,
    plus_peak,
    subtracted,
)


@triton.jit
def in_pieces(x_ptr, y_ptr, length, OP: tl.constexpr, BLOCK: tl.constexpr):
    """One row, `BLOCK` elements at a time."""
    row = tl.program_id(0).to(tl.int64)
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    x_ptr += row * length
    column = tl.arange(0, BLOCK)[None, :].to(tl.int64)
    peak = tl.full([1], -float("inf"), tl.float32)
    # The sum without the row's first peak, which counts as one.
    others = tl.zeros([1], tl.float64)
    for start in range(0, length, BLOCK):
        x = load(x_ptr, start + column, start + column < length, False).to(tl.float32)
        own = row_peak(x)
        e = double_weights(x, subtracted(own)[:, None])
        total, rest = row_sums(e, tl.where(x == own[:, None], 0.0, e), 1)
        mine = rest + (tl.floor(total - rest + 0.5) - 1.0)
        lower = tl.minimum(own, peak)
        gap = subtracted(lower).to(tl.float64) - tl.maximum(own, peak).to(tl.float64)
        fade = tl.where(lower == -float("inf"), 0.0, double_exp(gap))
        # The lower of the two peaks is no longer left out.
        above = own > peak
        others = tl.where(above, mine, others) + (tl.where(above, others, mine) + 1.0) * fade
        peak = larger(own, peak)
    logarithm = log1p(others)
    if OP == LOGSUMEXP:
        tl.store(y_ptr + row + tl.arange(0, 1), round_once(plus_peak(peak, logarithm), dtype))
    else:
        y_ptr += row * length
        defined = (peak + peak * 0.0)[:, None]
        share = (1.0 / (1.0 + others))[:, None]
        for start in range(0, length, BLOCK):
            x = load(x_ptr, start + column, start + column < length, False).to(tl.float32)
            if OP == SOFTMAX:
                y = tl.fma(double_weights(x, defined), share, (defined * 0.0).to(tl.float64))
            else:
                y = log_probability(x, defined, logarithm[:, None], True)
            tl.store(y_ptr + start + column, round_once(y, dtype), mask=start + column < length)
