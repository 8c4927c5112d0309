"""The compiled loops over arrays and tensors, a block a core at a time."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stable_ops.arrays import Float64, is_tensor, round_into, without_gradients
from stable_ops.blocks import BLOCK_ELEMENTS, RowFunction, Workspace, reader, share
from stable_ops.compiled.switch import active, kernel
from stable_ops.fp.formats import BF16, FP16, FP32
from stable_ops.ops import tensors

# As `stable_ops.compiled.formats` numbers them.
_KINDS = {"float32": 0, "bfloat16": 1, "float16": 2}
_FORMATS = (FP32, BF16, FP16)
# A call of compiled loops; what has to stay in cache is one row.
_ELEMENTS = 2 * BLOCK_ELEMENTS


def fits(x: Any, axis: int) -> bool:
    """Whether the compiled rows are asked for and take it: float32 or 16 bits, in host memory."""
    if not active():
        return False
    dense = tensors.fits(x) if is_tensor(x) else type(x) is np.ndarray and x.dtype.isnative
    return dense and _name(x) in _KINDS and -x.ndim <= axis < x.ndim and math.prod(x.shape) > 0


def fits_elements(*operands: Any) -> bool:
    """Whether the compiled elements are asked for and take them: of one kind, one after the other."""
    first = operands[0]
    return all(
        type(x) is type(first)
        and fits(x, -1)
        and x.shape == first.shape
        and x.dtype == first.dtype
        and (
            x.is_contiguous()
            if is_tensor(x)
            else x.flags.c_contiguous and x.flags.aligned and x.flags.writeable
        )
        for x in operands
    )


def map_elements(name: str, *operands: Any) -> Any:
    """Apply the compiled elements of that name."""
    first, tensor = operands[0], is_tensor(operands[0])
    kind = _KINDS[_name(first)]
    given = [_codes(without_gradients(x, "x") if tensor else x).reshape(-1) for x in operands]
    out = _empty((given[0].size,), first)
    compute, found = kernel(name), _codes(out)

    def one(start: int) -> None:
        stop = start + _ELEMENTS
        compute(*(x[start:stop] for x in given), found[start:stop], kind)

    threads = sys.modules["torch"].get_num_threads() if tensor else None
    share(lambda: one, range(0, out.shape[0], _ELEMENTS), elements=out.shape[0], threads=threads)
    return out.reshape(first.shape)


def vector(values: Float64 | None, length: int, default: float) -> Float64:
    """A vector as the rows take it."""
    return np.full(length, default) if values is None else np.ascontiguousarray(values, dtype=np.float64)


def map_rows(name: str, plain: RowFunction, x: Any, axis: int, *more: Any, reduces: bool = False) -> Any:
    """Apply the compiled rows of that name along an axis, and `plain` to the rows that they leave."""
    tensor, kind = is_tensor(x), _KINDS[_name(x)]
    rows = without_gradients(x, "x").movedim(axis, -1) if tensor else np.moveaxis(x, axis, -1)
    lead, length = tuple(rows.shape[:-1]), rows.shape[-1]
    count = math.prod(lead)
    out = _empty((count,) if reduces else (count, length), x)
    read, found = _reader(_codes(rows)), _codes(out)
    compute = kernel(name)
    step = max(1, _ELEMENTS // length)

    def worker() -> Callable[[int], None]:
        spare = Workspace()

        def one(start: int) -> None:
            stop = min(start + step, count)
            block, y = read(start, stop, spare), found[start:stop]
            left = np.zeros(stop - start, np.bool_)
            compute(block, y, left, kind, *more)
            if left.any():
                y[left] = _rounded(plain(_values(block[left], kind), spare), kind)

        return one

    threads = sys.modules["torch"].get_num_threads() if tensor else None
    share(worker, range(0, count, step), elements=count * length, threads=threads)
    if reduces:
        return out.reshape(lead) if tensor else out.reshape(lead)[()]
    whole = out.reshape(rows.shape)
    return whole.movedim(-1, axis) if tensor else np.moveaxis(whole, -1, axis)


def _name(x: Any) -> str:
    return str(x.dtype).removeprefix("torch.")


def _empty(shape: tuple[int, ...], x: Any) -> Any:
    return tensors.empty(shape, x.dtype) if is_tensor(x) else np.empty(shape, x.dtype)


def _codes(x: Any) -> NDArray[Any]:
    """float32 numbers or 16-bit codes as a numpy array in the same memory."""
    if _name(x) == "float32":
        found: NDArray[Any] = x.numpy() if is_tensor(x) else x
        return found
    return tensors.codes(x) if is_tensor(x) else x.view(np.uint16)


def _reader(rows: NDArray[Any]) -> Callable[[int, int, Workspace], NDArray[Any]]:
    """Blocks where they lie, if they are as the compiled rows expect them."""
    look = reader(rows)

    def read(start: int, stop: int, spare: Workspace) -> NDArray[Any]:
        block = look(start, stop)
        if block.flags.c_contiguous and block.flags.writeable and block.flags.aligned:
            return block
        own = spare.array("given", block.shape, block.dtype)
        np.copyto(own, block)
        return own

    return read


def _values(block: NDArray[Any], kind: int) -> Float64:
    if _FORMATS[kind] == BF16:
        block = (block.astype(np.uint32) << 16).view(np.float32)
    elif _FORMATS[kind] == FP16:
        block = block.view(np.float16)
    return block.astype(np.float64)


def _rounded(y: Float64, kind: int) -> NDArray[Any]:
    format = _FORMATS[kind]
    near = np.empty(y.shape, np.float16 if format == FP16 else np.float32)
    round_into(near, y, format)
    if format == FP32:
        return near
    return near.view(np.uint16) if format == FP16 else (near.view(np.uint32) >> 16).astype(np.uint16)
