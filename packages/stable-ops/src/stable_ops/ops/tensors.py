"""Torch tensors in host memory: read in blocks of float64, computed by numpy and torch loops, rounded once.

The formulas are those of the numpy form, so the bits are the same after the rounding. Only what numpy does
slowly is torch's: exponentials, erfc, bfloat16 and casts to 16 bits. torch is not imported here: who has a
tensor has imported it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput
from stable_ops.arrays import Float64, is_tensor
from stable_ops.blocks import BLOCK_ELEMENTS, Loops, RowFunction, Workspace, numpy_loops, share
from stable_ops.fp.formats import BF16, FP16, Format
from stable_ops.fp.rounding import through_float32

# torch takes further threads to an operation from 2^15 elements on.
_PIECE = 2**15 - 64
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

    exp as a power of two: torch's own exp starts further threads from 2,048 elements on, exp2 from 2^15 on.
    """
    torch = sys.modules["torch"]

    def exp(x: Float64, out: Float64) -> None:
        np.multiply(x, math.log2(math.e), out=out)
        in_pieces(torch.Tensor.exp2_, torch.from_numpy(out))

    def erfc(x: Float64, out: Float64) -> None:
        torch.special.erfc(torch.from_numpy(x), out=torch.from_numpy(out))

    return Loops(exp=exp, erfc=erfc)


def array_loops(*, wide: bool) -> Loops:
    """The loops for numpy arrays: torch's exponential for results to be rounded, where torch is imported.

    Without AVX-512 it takes two fifths of the time of numpy's; after the rounding the bits are the same.
    """
    own = numpy_loops(wide=wide)
    return own if wide or not at_hand() else replace(own, exp=loops().exp)


def at_hand() -> bool:
    """Whether torch has been imported, by somebody else."""
    return hasattr(sys.modules.get("torch"), "exp2")


def map_rows(function: RowFunction, x: Any, axis: int, *, reduces: bool = False) -> Any:
    """As `stable_ops.blocks.map_rows`."""
    torch = sys.modules["torch"]
    if x.ndim == 0 or not -x.ndim <= axis < x.ndim:
        raise BadInput(f"axis {axis} is not one of a tensor of shape {tuple(x.shape)}: pass one that it has")
    rows = x.movedim(axis, -1)
    lead, length = rows.shape[:-1], rows.shape[-1]
    count = math.prod(lead)
    out = empty((count,) if reduces else (count, length), x.dtype)
    read = reader(rows)
    step = max(1, BLOCK_ELEMENTS // max(1, length))

    def worker() -> Callable[[int], None]:
        spare = Workspace()

        def one(start: int) -> None:
            stop = min(start + step, count)
            block = spare.array("block", (stop - start, length))
            in_pieces(torch.Tensor.copy_, torch.from_numpy(block), read(start, stop))
            _round_into(out[start:stop], function(block, spare), spare)

        return one

    share(worker, range(0, count, step), elements=count * length, threads=torch.get_num_threads())
    if reduces:
        return out.view(lead)
    return out.view(rows.shape).movedim(-1, axis)


def map_elements(function: Callable[..., Float64], *operands: Any, threads: int | None = None) -> Any:
    """As `stable_ops.blocks.map_elements`; on that many threads, those of torch unless given."""
    torch = sys.modules["torch"]
    first = operands[0]
    readers = [_elements(x) for x in operands]
    out = empty((first.numel(),), first.dtype)

    def worker() -> Callable[[int], None]:
        spare = Workspace()

        def one(start: int) -> None:
            stop = min(start + BLOCK_ELEMENTS, out.numel())
            blocks = [spare.array(f"block {i}", (stop - start,)) for i in range(len(readers))]
            for block, read in zip(blocks, readers, strict=True):
                in_pieces(torch.Tensor.copy_, torch.from_numpy(block), read(start, stop))
            _round_into(out[start:stop], function(spare, *blocks), spare)

        return one

    starts = range(0, out.numel(), BLOCK_ELEMENTS)
    share(worker, starts, elements=out.numel(), threads=threads or torch.get_num_threads())
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


def round_like(y: Float64, like: Any) -> Float64:
    """Float64 rounded once to the dtype of a tensor."""
    torch = sys.modules["torch"]
    out = torch.empty(y.shape, dtype=like.dtype)
    _round_into(out, y, Workspace())
    wide: Float64 = out.to(torch.float64).numpy()
    return wide


def reader(rows: Any) -> Callable[[int, int], Any]:
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


def in_pieces(operation: Callable[..., Any], *tensors: Any) -> None:
    """Apply an elementwise operation to blocks in pieces that torch leaves to the calling thread.

    Further threads of torch within a thread of `share` would wait for one another after every operation.
    """
    first = tensors[0]
    if first.numel() <= _PIECE:
        operation(*tensors)
    elif first.ndim == 2 and first.shape[0] > 1:
        step = max(1, _PIECE // first.shape[1])
        for start in range(0, first.shape[0], step):
            in_pieces(operation, *(x[start : start + step] for x in tensors))
    else:
        for start in range(0, first.shape[-1], _PIECE):
            operation(*(x[..., start : start + _PIECE] for x in tensors))


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    torch = sys.modules["torch"]
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < _HUGE_BYTES:
        return torch.empty(shape, dtype=dtype)
    return torch.from_numpy(np.empty(nbytes, dtype=np.uint8)).view(dtype).view(shape)


def _round_into(out: Any, y: Float64, spare: Workspace) -> None:
    """Float64 into contiguous `out`, rounded once; torch's own cast to 16 bits rounds to float32 first."""
    torch = sys.modules["torch"]
    format = format_of(out)
    if format is None:
        in_pieces(torch.Tensor.copy_, out, torch.from_numpy(y))
        return
    near = spare.array("near", y.shape, np.float32)
    through_float32(near, y, format)
    in_pieces(torch.Tensor.copy_, out, torch.from_numpy(near))
