"""gelu, silu and swiglu: 16-bit ones from a table of every input, float32 ones in float64."""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice

from stable_ops.ops.triton.arithmetic import gate, logistic, round_once
from stable_ops.ops.triton.rows import on_device_of, packed

_BLOCK = 1024
_SILU = tl.constexpr(0)
_GELU = tl.constexpr(1)
_GELU_TANH = tl.constexpr(2)
_SWIGLU = tl.constexpr(3)
# 2 sqrt(2 / pi), and 1 / sqrt(2).
_TANH_SCALE = tl.constexpr(1.5957691216057308)
_TANH_CUBE = tl.constexpr(0.044715)
_INVERSE_ROOT_2 = tl.constexpr(0.7071067811865476)

Reference = Callable[[Any], Any]


def silu(x: Any, reference: Reference) -> Any:
    """`stable_ops.silu` of a CUDA tensor; `reference` is the form for CPU tensors, which fills the table."""
    return _elements((x,), _SILU.value, reference)


def gelu(x: Any, reference: Reference, *, approximate: str) -> Any:
    """`stable_ops.gelu` of a CUDA tensor."""
    return _elements((x,), (_GELU if approximate == "none" else _GELU_TANH).value, reference)


def swiglu(first: Any, second: Any, reference: Reference) -> Any:
    """`stable_ops.swiglu` of CUDA tensors; `reference` is silu with float64 results."""
    return _elements((first, second), _SWIGLU.value, reference)


def _elements(operands: tuple[Any, ...], op: int, reference: Reference) -> Any:
    tensors = [packed(x.detach()) for x in operands]
    first = tensors[0]
    y = torch.empty_like(first)
    if not y.numel():
        return y
    grid = (triton.cdiv(y.numel(), _BLOCK),)
    with on_device_of(first):
        if first.element_size() == 2:
            table = _table(reference, op, first.dtype, first.device)
            _look_up[grid](table, first, tensors[-1], y, y.numel(), OP=op, BLOCK=_BLOCK)
        else:
            _compute[grid](first, tensors[-1], y, y.numel(), OP=op, BLOCK=_BLOCK)
    return y


# The operator and the dtype decide the table; the reference is only how to fill it.
_TABLES: dict[tuple[int, Any, Any], Any] = {}


def _table(reference: Reference, op: int, dtype: Any, device: Any) -> Any:
    """The results for all 65,536 numbers of a format, in the order of their bits."""
    key = (op, dtype, device)
    if key not in _TABLES:
        _TABLES[key] = reference(_every_number(dtype)).to(device)
    return _TABLES[key]


@functools.lru_cache(maxsize=2)
def _every_number(dtype: Any) -> Any:
    return torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(dtype)


@triton.jit
def _look_up(table_ptr, x_ptr, up_ptr, y_ptr, count, OP: tl.constexpr, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < count
    x = tl.load(x_ptr + place, mask=inside, other=0.0)
    index = x.to(tl.int16, bitcast=True).to(tl.int32) & 0xFFFF
    y = tl.load(table_ptr + index)
    if OP == _SWIGLU:
        y = round_once(y * tl.load(up_ptr + place, mask=inside, other=0.0).to(tl.float64), x.dtype)
    tl.store(y_ptr + place, y, mask=inside)


@triton.jit
def _compute(x_ptr, up_ptr, y_ptr, count, OP: tl.constexpr, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < count
    x = tl.load(x_ptr + place, mask=inside, other=0.0).to(tl.float64)
    if OP == _GELU:
        root = tl.full([1], _INVERSE_ROOT_2, tl.float64)
        share = 0.5 * libdevice.erfc(-x * root)
    elif OP == _GELU_TANH:
        scale = tl.full([1], _TANH_SCALE, tl.float64)
        cube = tl.full([1], _TANH_CUBE, tl.float64)
        share = logistic(scale * (x + cube * x * x * x))
    else:
        if OP == _SWIGLU:
            # The silu of a finite gate is no zero, which an infinite `up` would make NaN.
            x = tl.where((x < -700.0) & (x > -float("inf")), -700.0, x)
        share = logistic(x)
    y = gate(x, share)
    if OP == _SWIGLU:
        y *= tl.load(up_ptr + place, mask=inside, other=0.0).to(tl.float64)
    tl.store(y_ptr + place, round_once(y, y_ptr.dtype.element_ty), mask=inside)
