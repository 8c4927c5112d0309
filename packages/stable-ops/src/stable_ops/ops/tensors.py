"""Torch tensors in host memory: read in blocks of float64, computed by numpy and torch loops, rounded once.

The formulas are those of the numpy form, so the bits are the same after the rounding. Only what numpy does
slowly is torch's: exponentials, erfc, bfloat16 and casts to 16 bits. torch is not imported here: who has a
tensor has imported it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput
from stable_ops.arrays import Float64, is_tensor
from stable_ops.blocks import BLOCK_ELEMENTS, Loops, share
from stable_ops.fp.formats import BF16, FP16, Format
from stable_ops.fp.rounding import through_float32

# From here on numpy asks for huge pages, which torch does not: first touch then costs a fifth.
_HUGE_BYTES = 2**22

_FORMATS: dict[str, Format | None] = {"torch.float32": None, "torch.float16": FP16, "torch.bfloat16": BF16}


def fits(*operands: Any) -> bool:
    """Whether these functions take them: dense tensors in host memory, float16, bfloat16 or float32."""
    return all(
        is_tensor(x)
        and x.device.type == "cpu"
        and str(x.dtype) in _FORMATS
        and str(x.layout) == "torch.strided"
        for x in operands
    )


def loops() -> Loops:
    """torch's vector loops on numpy arrays.

    On no more than `BLOCK_ELEMENTS` torch works with the calling thread alone: blocks run side by side
    without waiting for one another after every operation.
    """
    torch = sys.modules["torch"]
    return Loops(
        exp=lambda x, out: torch.exp(torch.from_numpy(x), out=torch.from_numpy(out)).numpy(),
        erfc=lambda x: torch.special.erfc(torch.from_numpy(x)).numpy(),
        softmax=lambda x: torch.softmax(torch.from_numpy(x), -1).numpy(),
    )


def map_rows(function: Callable[[Float64], Float64], x: Any, axis: int, *, reduces: bool = False) -> Any:
    """As `stable_ops.blocks.map_rows`."""
    torch = sys.modules["torch"]
    if x.ndim == 0 or not -x.ndim <= axis < x.ndim:
        raise BadInput(f"axis {axis} is not one of a tensor of shape {tuple(x.shape)}: pass one that it has")
    rows = x.movedim(axis, -1)
    lead, length = rows.shape[:-1], rows.shape[-1]
    count = math.prod(lead)
    out = _empty((count,) if reduces else (count, length), x.dtype)
    read = _reader(rows)
    step = max(1, BLOCK_ELEMENTS // max(1, length))

    def worker() -> Callable[[int], None]:
        buffer = torch.empty(min(step, count), length, dtype=torch.float64)

        def one(start: int) -> None:
            stop = min(start + step, count)
            block = buffer[: stop - start].copy_(read(start, stop))
            _round_into(out[start:stop], function(block.numpy()))

        return one

    share(worker, range(0, count, step), elements=count * length, threads=torch.get_num_threads())
    if reduces:
        return out.view(lead)
    return out.view(rows.shape).movedim(-1, axis)


def map_elements(function: Callable[..., Float64], *operands: Any) -> Any:
    """As `stable_ops.blocks.map_elements`."""
    torch = sys.modules["torch"]
    first = operands[0]
    readers = [_elements(x) for x in operands]
    out = _empty((first.numel(),), first.dtype)

    def one(start: int) -> None:
        stop = min(start + BLOCK_ELEMENTS, out.numel())
        blocks = (read(start, stop).to(torch.float64, copy=True).numpy() for read in readers)
        _round_into(out[start:stop], function(*blocks))

    starts = range(0, out.numel(), BLOCK_ELEMENTS)
    share(lambda: one, starts, elements=out.numel(), threads=torch.get_num_threads())
    return out.view(first.shape)


def codes(x: Any) -> NDArray[np.uint16]:
    """The bits of a 16-bit tensor, in the same memory."""
    bits: NDArray[np.uint16] = x.view(sys.modules["torch"].int16).numpy().view(np.uint16)
    return bits


def from_codes(bits: NDArray[np.uint16], dtype: Any) -> Any:
    """The tensor with these bits."""
    return sys.modules["torch"].from_numpy(bits.view(np.int16)).view(dtype)


def format_of(x: Any) -> Format | None:
    """The 16-bit format of a tensor, or None for float32."""
    return _FORMATS[str(x.dtype)]


def round_like(y: Float64, x: Any) -> Float64:
    """Float64 rounded once to the dtype of x."""
    torch = sys.modules["torch"]
    out = torch.empty(y.shape, dtype=x.dtype)
    _round_into(out, y)
    wide: Float64 = out.to(torch.float64).numpy()
    return wide


def _reader(rows: Any) -> Callable[[int, int], Any]:
    """Rows start to stop of a tensor `(..., n)` as `(stop - start, n)`, without a copy of the whole."""
    torch = sys.modules["torch"]
    lead = rows.shape[:-1]
    if rows.ndim == 1:
        return lambda start, stop: rows[None]
    if rows.ndim == 2 or rows.is_contiguous():
        flat = rows if rows.ndim == 2 else rows.reshape(math.prod(lead), rows.shape[-1])
        return lambda start, stop: flat[start:stop]
    return lambda start, stop: rows[torch.unravel_index(torch.arange(start, stop), lead)]


def _elements(x: Any) -> Callable[[int, int], Any]:
    """Elements start to stop in C order, without a copy of the whole."""
    torch = sys.modules["torch"]
    if x.ndim == 1 or x.is_contiguous():
        flat = x.reshape(-1)
        return lambda start, stop: flat[start:stop]
    return lambda start, stop: x[torch.unravel_index(torch.arange(start, stop), x.shape)]


def _empty(shape: tuple[int, ...], dtype: Any) -> Any:
    torch = sys.modules["torch"]
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < _HUGE_BYTES:
        return torch.empty(shape, dtype=dtype)
    return torch.from_numpy(np.empty(nbytes, dtype=np.uint8)).view(dtype).view(shape)


def _round_into(out: Any, y: Float64) -> None:
    """Float64 into contiguous `out`, rounded once; torch's own cast to 16 bits rounds to float32 first."""
    torch = sys.modules["torch"]
    format = format_of(out)
    if format is None:
        out.copy_(torch.from_numpy(y))
        return
    out.copy_(torch.from_numpy(through_float32(y, format)))
