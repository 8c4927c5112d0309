"""softmax, log_softmax and logsumexp of rows."""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from stable_ops.ops.triton.arithmetic import log1p, round_once, unit, weights
from stable_ops.ops.triton.rows import last, on_device_of, plan

# The longest row kept in registers: the weights of float32 rows are float64, and logarithms take some more.
_LONGEST_SOFTMAX = 32768
_LONGEST_LOGARITHM = 8192
_LONGEST_FLOAT32 = 8192
# Below it a logsumexp has cancelled so far that float32 weights, 2^-23 off, are not enough for 0.501 ulp.
_CANCELLED = tl.constexpr(0.25)
_SOFTMAX = tl.constexpr(0)
_LOG_SOFTMAX = tl.constexpr(1)
_LOGSUMEXP = tl.constexpr(2)


def softmax(x: Any, *, axis: int = -1) -> Any:
    """`stable_ops.softmax` of a CUDA tensor."""
    return _rows(x, axis, _SOFTMAX.value)


def log_softmax(x: Any, *, axis: int = -1) -> Any:
    """`stable_ops.log_softmax` of a CUDA tensor."""
    return _rows(x, axis, _LOG_SOFTMAX.value)


def logsumexp(x: Any, *, axis: int = -1) -> Any:
    """`stable_ops.logsumexp` of a CUDA tensor."""
    return _rows(x, axis, _LOGSUMEXP.value)


def _rows(x: Any, axis: int, op: int) -> Any:
    rows = last(x, axis)
    length = rows.shape[-1]
    reduces = op == _LOGSUMEXP.value
    y = rows.new_empty(rows.shape[:-1]) if reduces else torch.empty_like(rows)
    if length == 0:
        y = y.fill_(-torch.inf)
    elif y.numel():
        count = rows.numel() // length
        wide = rows.dtype == torch.float32
        narrow = _LONGEST_SOFTMAX if op == _SOFTMAX.value else _LONGEST_LOGARITHM
        launch = plan(length, longest=_LONGEST_FLOAT32 if wide else narrow)
        options = {"OP": op, "WIDE": wide, "BLOCK": launch.block}
        with on_device_of(rows):
            if launch.whole:
                grid = (triton.cdiv(count, launch.rows),)
                _whole[grid](rows, y, count, length, ROWS=launch.rows, **options, num_warps=launch.warps)
            else:
                _pieces[(count,)](rows, y, length, **options, num_warps=launch.warps)
    return y if reduces else y.movedim(-1, axis)


@triton.jit
def _logarithm(peak, rest, twins, WIDE: tl.constexpr):
    """log of the sum of exp(x - peak): the weights below the peak, and how often the peak is there."""
    logarithm = log1p(rest / unit(WIDE) + (twins - 1).to(tl.float64))
    return tl.where(tl.abs(peak) == float("inf"), float("nan"), logarithm)


@triton.jit
def _log_probability(x, peak, logarithm):
    """x - peak - logarithm, off the tie that x - peak often is where the logarithm vanishes beside it."""
    shifted = x.to(tl.float64) - peak.to(tl.float64)
    y = shifted - logarithm
    bits = y.to(tl.int64, bitcast=True)
    lost = (y == shifted) & (shifted < 0) & (shifted > -float("inf")) & ((bits & 1) == 0)
    return tl.where(lost, bits + 1, bits).to(tl.float64, bitcast=True)


@triton.jit
def _total(peak, logarithm, rest):
    """peak + logarithm; an infinite peak is the answer, unless a NaN came into the sum."""
    wide = peak.to(tl.float64)
    y = tl.where(tl.abs(wide) == float("inf"), wide, wide + logarithm)
    return tl.where(rest != rest, float("nan"), y)


@triton.jit(do_not_specialize=["count"])
def _whole(
    x_ptr,
    y_ptr,
    count,
    length,
    OP: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)
    inside = (row[:, None] < count) & (column[None, :] < length)
    place = row[:, None] * length + column[None, :]
    x = tl.load(x_ptr + place, mask=inside, other=-float("inf"))
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    peak = tl.max(x.to(tl.float32), axis=1)
    e = weights(x, peak[:, None], WIDE)
    if OP == _SOFTMAX:
        total = 1.0 / tl.sum(e.to(tl.float64), axis=1)
        if WIDE:
            y = round_once(e * total[:, None], dtype)
        else:
            high = total.to(tl.float32)
            low = (total - high.to(tl.float64)).to(tl.float32)
            y = tl.fma(e, high[:, None], e * low[:, None]).to(dtype)
        tl.store(y_ptr + place, y, mask=inside)
    else:
        at_peak = x.to(tl.float32) == peak[:, None]
        rest = tl.sum(tl.where(at_peak, 0.0, e).to(tl.float64), axis=1)
        twins = tl.sum(at_peak.to(tl.int32), axis=1)
        logarithm = _logarithm(peak, rest, twins, WIDE)
        if OP == _LOG_SOFTMAX:
            y = _log_probability(x, peak[:, None], logarithm[:, None])
            tl.store(y_ptr + place, round_once(y, dtype), mask=inside)
        else:
            y = _total(peak, logarithm, rest)
            if not WIDE:
                cancelled = tl.abs(y) < _CANCELLED
                if tl.max(cancelled.to(tl.int32), axis=0) > 0:
                    wide = weights(x, peak[:, None], True)
                    rest = tl.sum(tl.where(at_peak, 0.0, wide), axis=1)
                    exact = _total(peak, _logarithm(peak, rest, twins, True), rest)
                    # Row by row, so that no row has other bits for its neighbours' sake.
                    y = tl.where(cancelled, exact, y)
            tl.store(y_ptr + row, round_once(y, dtype), mask=row < count)


@triton.jit
def _read_pieces(x_ptr, length, SUM_ALL: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr):
    """The peak of a row, the weights below it (of all if SUM_ALL), and how often the peak is there."""
    column = tl.arange(0, BLOCK)
    peak = tl.full([1], -float("inf"), tl.float32)
    rest = tl.full([1], 0.0, tl.float64)
    twins = tl.full([1], 0, tl.int32)
    ahead = tl.load(x_ptr + column, mask=column < length, other=-float("inf"))
    for start in range(0, length, BLOCK):
        inside = start + column < length
        x = ahead
        # Asked for now, so that it is on its way while this piece is summed.
        following = start + BLOCK + column
        ahead = tl.load(x_ptr + following, mask=following < length, other=-float("inf"))
        higher = tl.maximum(peak, tl.max(x.to(tl.float32), axis=0))
        # A peak of -inf is no reference to subtract yet.
        reference = tl.where(higher == -float("inf"), 0.0, higher)
        fade = tl.exp(peak.to(tl.float64) - reference.to(tl.float64))
        e = weights(x, reference, WIDE)
        if SUM_ALL:
            rest = tl.where(higher > peak, rest * fade, rest) + tl.sum(e.to(tl.float64), axis=0)
        else:
            # The peak itself is counted, not summed: beside it a small sum would be lost.
            below = rest + twins.to(tl.float64) * unit(WIDE)
            at_peak = inside & (x.to(tl.float32) == higher)
            others = tl.sum(tl.where(at_peak, 0.0, e).to(tl.float64), axis=0)
            rest = tl.where(higher > peak, below * fade, rest) + others
            twins = tl.where(higher > peak, 0, twins) + tl.sum(at_peak.to(tl.int32), axis=0)
        peak = higher
    return peak, rest, twins


@triton.jit
def _pieces(x_ptr, y_ptr, length, OP: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    x_ptr += row * length
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    peak, rest, twins = _read_pieces(x_ptr, length, OP == _SOFTMAX, WIDE, BLOCK)
    logarithm = _logarithm(peak, rest, twins, WIDE)
    if OP == _LOGSUMEXP:
        y = _total(peak, logarithm, rest)
        if not WIDE:  # noqa: SIM102 (decided at compile time, the other at run time)
            if tl.max((tl.abs(y) < _CANCELLED).to(tl.int32), axis=0) > 0:
                peak, rest, twins = _read_pieces(x_ptr, length, False, True, BLOCK)
                y = _total(peak, _logarithm(peak, rest, twins, True), rest)
        tl.store(y_ptr + row + tl.arange(0, 1), round_once(y, dtype))
    else:
        y_ptr += row * length
        column = tl.arange(0, BLOCK)
        total = 1.0 / rest
        high = total.to(tl.float32)
        low = (total - high.to(tl.float64)).to(tl.float32)
        for start in range(0, length, BLOCK):
            inside = start + column < length
            x = tl.load(x_ptr + start + column, mask=inside, other=-float("inf"))
            if OP == _LOG_SOFTMAX:
                y = round_once(_log_probability(x, peak, logarithm), dtype)
            elif WIDE:
                y = round_once(weights(x, peak, WIDE) * total, dtype)
            else:
                e = weights(x, peak, WIDE)
                y = tl.fma(e, high, e * low).to(dtype)
            tl.store(y_ptr + start + column, y, mask=inside)
