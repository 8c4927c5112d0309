"""layer_norm and rms_norm of rows, in float64 throughout."""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from mfi_command import BadInput
from stable_ops.arrays import is_tensor, unwrap, without_gradients
from stable_ops.ops.triton.arithmetic import round_once
from stable_ops.ops.triton.rows import last, on_device_of, packed, plan

# The longest row kept in registers, as float64.
_LONGEST = 8192


def layer_norm(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """`stable_ops.layer_norm` of a CUDA tensor."""
    return _rows(x, weight, bias, eps, axis, CENTRE=True, TWICE=False, OFFSET=0.0)


def rms_norm(x: Any, weight: Any, *, eps: float, form: str, axis: int, offset: float = 0.0) -> Any:
    """`stable_ops.rms_norm` of a CUDA tensor; `offset` is added to each weight."""
    return _rows(x, weight, None, eps, axis, CENTRE=False, TWICE=form == "hf", OFFSET=offset)


def _rows(x: Any, weight: Any, bias: Any, eps: float, axis: int, **options: float) -> Any:
    rows = last(x, axis)
    length = rows.shape[-1]
    scale, shift = _vector(weight, "weight", rows), _vector(bias, "bias", rows)
    y = torch.empty_like(rows)
    if y.numel():
        count = rows.numel() // length
        launch = plan(length, longest=_LONGEST)
        # A kernel without a weight or bias never reads through that pointer.
        arguments = (rows, rows if scale is None else scale, rows if shift is None else shift, y)
        constants = {
            "SCALE": scale is not None,
            "SHIFT": shift is not None,
            "EPS": float(eps),
            "BLOCK": launch.block,
            **options,
        }
        with on_device_of(rows):
            if launch.whole:
                grid = (triton.cdiv(count, launch.rows),)
                _whole[grid](*arguments, count, length, ROWS=launch.rows, **constants, num_warps=launch.warps)
            else:
                _pieces[(count,)](*arguments, length, **constants, num_warps=launch.warps)
    return y.movedim(-1, axis)


def _vector(values: Any, name: str, rows: Any) -> Any:
    if values is None:
        return None
    if not is_tensor(values):
        values = torch.from_numpy(unwrap(values, name).values.astype("float64"))
    vector = without_gradients(values, name).to(rows.device)
    if vector.shape != rows.shape[-1:]:
        shape = tuple(vector.shape)
        raise BadInput(
            f"{name} has shape {shape}: pass one of shape ({rows.shape[-1]},), the normalised axis"
        )
    return packed(vector)


@triton.jit
def _finish(
    x,
    factor,
    w_ptr,
    b_ptr,
    column,
    inside,
    SCALE: tl.constexpr,
    SHIFT: tl.constexpr,
    TWICE: tl.constexpr,
    OFFSET: tl.constexpr,
    dtype: tl.constexpr,
):
    """x * factor * weight + bias, rounded."""
    y = x * factor
    if TWICE:
        y = round_once(y, dtype).to(tl.float64)
    if SCALE:
        y *= tl.load(w_ptr + column, mask=inside, other=0.0).to(tl.float64) + OFFSET
    if SHIFT:
        y += tl.load(b_ptr + column, mask=inside, other=0.0).to(tl.float64)
    return round_once(y, dtype)


@triton.jit(do_not_specialize=["count"])
def _whole(
    x_ptr,
    w_ptr,
    b_ptr,
    y_ptr,
    count,
    length,
    EPS: tl.constexpr,
    CENTRE: tl.constexpr,
    TWICE: tl.constexpr,
    OFFSET: tl.constexpr,
    SCALE: tl.constexpr,
    SHIFT: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)[None, :]
    inside = (row[:, None] < count) & (column < length)
    place = row[:, None] * length + column
    x = tl.load(x_ptr + place, mask=inside, other=0.0).to(tl.float64)
    # A float64 square of a float32 number neither overflows nor vanishes.
    if CENTRE:
        x = tl.where(inside, x - (tl.sum(x, axis=1) / length)[:, None], 0.0)
    mean_square = tl.sum(x * x, axis=1) / length
    factor = 1.0 / tl.sqrt(mean_square + tl.full([1], EPS, tl.float64))
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    y = _finish(x, factor[:, None], w_ptr, b_ptr, column, column < length, SCALE, SHIFT, TWICE, OFFSET, dtype)
    tl.store(y_ptr + place, y, mask=inside)


@triton.jit
def _pieces(
    x_ptr,
    w_ptr,
    b_ptr,
    y_ptr,
    length,
    EPS: tl.constexpr,
    CENTRE: tl.constexpr,
    TWICE: tl.constexpr,
    OFFSET: tl.constexpr,
    SCALE: tl.constexpr,
    SHIFT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    x_ptr += row * length
    y_ptr += row * length
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    mean = tl.full([1], 0.0, tl.float64)
    squares = tl.full([1], 0.0, tl.float64)
    first = tl.arange(0, BLOCK)
    ahead = tl.load(x_ptr + first, mask=first < length, other=0.0)
    for start in range(0, length, BLOCK):
        inside = start + first < length
        x = ahead.to(tl.float64)
        # Asked for now, so that it is on its way while this piece is summed.
        following = start + BLOCK + first
        ahead = tl.load(x_ptr + following, mask=following < length, other=0.0)
        if CENTRE:
            # Each piece about its own mean, joined to those before (Chan, Golub, LeVeque).
            here = tl.minimum(length - start, BLOCK).to(tl.float64)
            own = tl.sum(x, axis=0) / here
            off = tl.where(inside, x - own, 0.0)
            step = own - mean
            share = here / (here + start)
            squares += tl.sum(off * off, axis=0) + step * step * share * start
            mean += step * share
        else:
            squares += tl.sum(x * x, axis=0)
    factor = 1.0 / tl.sqrt(squares / length + tl.full([1], EPS, tl.float64))
    for start in range(0, length, BLOCK):
        column = start + tl.arange(0, BLOCK)
        inside = column < length
        x = tl.load(x_ptr + column, mask=inside, other=0.0).to(tl.float64) - mean
        y = _finish(x, factor, w_ptr, b_ptr, column, inside, SCALE, SHIFT, TWICE, OFFSET, dtype)
        tl.store(y_ptr + column, y, mask=inside)
