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
from stable_ops.ops.triton.launch import Launch
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
    count = y.numel()
    if count:
        narrow = first.element_size() == 2
        kinds = (first.dtype, tensors[-1].dtype, first.device, count % 16 == 0, count == 1, count >= 2**31)
        table = (_table(reference, op, first.dtype, first.device),) if narrow else ()
        with on_device_of(first):
            _launch(op, narrow, kinds)(-(-count // _BLOCK), *table, first, tensors[-1], y, count)
    return y


@functools.lru_cache(maxsize=1024)
def _launch(op: int, narrow: bool, kinds: tuple[Any, ...]) -> Launch:
    """The kernel of an operator; `kinds`, on which what Triton compiles depends, only tells them apart."""
    return Launch(_look_up if narrow else _compute, warps=4, OP=op, BLOCK=_BLOCK)


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
def _looked_up(table_ptr, x, up, OP: tl.constexpr):
    index = x.to(tl.int16, bitcast=True).to(tl.int32) & 0xFFFF
    y = tl.load(table_ptr + index)
    if OP == _SWIGLU:
        y = round_once(y * up.to(tl.float64), x.dtype)
    return y


@triton.jit
def _look_up(table_ptr, x_ptr, up_ptr, y_ptr, count, OP: tl.constexpr, BLOCK: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * BLOCK
    place = start + tl.arange(0, BLOCK)
    # A mask that ends anywhere would read the numbers one by one.
    if start + BLOCK <= count:
        y = _looked_up(table_ptr, tl.load(x_ptr + place), tl.load(up_ptr + place), OP)
        tl.store(y_ptr + place, y)
    else:
        inside = place < count
        x = tl.load(x_ptr + place, mask=inside, other=0.0)
        up = tl.load(up_ptr + place, mask=inside, other=0.0)
        tl.store(y_ptr + place, _looked_up(table_ptr, x, up, OP), mask=inside)


@triton.jit
def _computed(x, up, dtype: tl.constexpr, OP: tl.constexpr):
    x = x.to(tl.float64)
    if OP == _GELU:
        root = tl.full([1], _INVERSE_ROOT_2, tl.float64)
        share = 0.5 * libdevice.erfc(-x * root)
    elif OP == _GELU_TANH:
        scale = tl.full([1], _TANH_SCALE, tl.float64)
        cube = tl.full([1], _TANH_CUBE, tl.float64)
        share = logistic(scale * (x + cube * x * x * x))
    else:
        share = logistic(x)
    y = gate(x, share)
    if OP == _SWIGLU:
        y *= up.to(tl.float64)
    return round_once(y, dtype)


@triton.jit
def _compute(x_ptr, up_ptr, y_ptr, count, OP: tl.constexpr, BLOCK: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * BLOCK
    place = start + tl.arange(0, BLOCK)
    inside = place < count
    x = tl.load(x_ptr + place, mask=inside, other=0.0)
    up = tl.load(up_ptr + place, mask=inside, other=0.0)
    tl.store(y_ptr + place, _computed(x, up, y_ptr.dtype.element_ty, OP), mask=inside)
