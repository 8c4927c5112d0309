"""The compiled rows over arrays and tensors: blocks that stay in cache, one a core at a time."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from stable_ops.arrays import Float64, is_tensor, round_into, without_gradients
from stable_ops.blocks import BLOCK_ELEMENTS, RowFunction, Workspace, reader, share
from stable_ops.compiled.switch import kernels
from stable_ops.fp.formats import BF16, FP16, FP32
from stable_ops.ops import tensors

_Read = Callable[[int, int, Workspace], Any]
_Write = Callable[[int, int, Any], None]

_FORMATS = {"torch.float16": FP16, "torch.bfloat16": BF16}


def fits(x: Any, axis: int) -> bool:
    """Whether the compiled rows are asked for and take it: float32, or a short tensor, in host memory."""
    if kernels() is None:
        return False
    dense = tensors.fits(x) if is_tensor(x) else type(x) is np.ndarray and x.dtype == np.float32
    return dense and -x.ndim <= axis < x.ndim and math.prod(x.shape) > 0


def is_short(x: Any) -> bool:
    """Whether results are rounded to 16 bits."""
    return is_tensor(x) and str(x.dtype) in _FORMATS


def vector(values: Float64 | None) -> Float64:
    """An optional vector as the rows take it."""
    return np.empty(0) if values is None else np.ascontiguousarray(values, dtype=np.float64)


def map_rows(name: str, plain: RowFunction, x: Any, axis: int, *more: Any, reduces: bool = False) -> Any:
    """Apply the compiled rows of that name along an axis, and `plain` to the rows that they leave."""
    tensor, short = is_tensor(x), is_short(x)
    rows = without_gradients(x, "x").movedim(axis, -1) if tensor else np.moveaxis(x, axis, -1)
    lead, length = tuple(rows.shape[:-1]), rows.shape[-1]
    count = math.prod(lead)
    out = _empty((count,) if reduces else (count, length), x)
    read, results, write = _through_copies(rows, out) if short else _in_place(rows, out)
    kernel, format = getattr(kernels(), name), _FORMATS[str(x.dtype)] if short else FP32
    step = max(1, BLOCK_ELEMENTS // length)

    def worker() -> Callable[[int], None]:
        spare = Workspace()

        def one(start: int) -> None:
            stop = min(start + step, count)
            block, y = read(start, stop, spare), results(start, stop, spare)
            left = np.zeros(stop - start, np.bool_)
            kernel(block, y, left, short, *more)
            if left.any():
                exact = plain(block[left].astype(np.float64), spare)
                # numpy rounds to float16 itself, and once.
                near = np.empty(exact.shape, np.float16 if format == FP16 else np.float32)
                round_into(near, exact, format)
                y[left] = near
            write(start, stop, y)

        return one

    threads = sys.modules["torch"].get_num_threads() if tensor else None
    share(worker, range(0, count, step), elements=count * length, threads=threads)
    if reduces:
        return out.reshape(lead) if tensor else out.reshape(lead)[()]
    whole = out.reshape(rows.shape)
    return whole.movedim(-1, axis) if tensor else np.moveaxis(whole, -1, axis)


def _empty(shape: tuple[int, ...], x: Any) -> Any:
    return tensors.empty(shape, x.dtype) if is_tensor(x) else np.empty(shape, x.dtype)


def _in_place(rows: Any, out: Any) -> tuple[_Read, _Read, _Write]:
    """float32 blocks and results where they lie, if the blocks are as the compiled rows expect them."""
    given, found = (v.numpy() if is_tensor(v) else v for v in (rows, out))
    look = reader(given)

    def read(start: int, stop: int, spare: Workspace) -> Any:
        block = look(start, stop)
        if (
            block.flags.c_contiguous
            and block.flags.writeable
            and block.flags.aligned
            and block.dtype.isnative
        ):
            return block
        own = spare.array("given", block.shape, np.float32)
        np.copyto(own, block)
        return own

    return read, lambda start, stop, _: found[start:stop], lambda start, stop, y: None


def _through_copies(rows: Any, out: Any) -> tuple[_Read, _Read, _Write]:
    """Blocks of a 16-bit tensor as float32, and float32 results that are rounded as they are written."""
    torch = sys.modules["torch"]
    take = tensors.reader(rows)

    def read(start: int, stop: int, spare: Workspace) -> Any:
        block = spare.array("given", (stop - start, rows.shape[-1]), np.float32)
        tensors.in_pieces(torch.Tensor.copy_, torch.from_numpy(block), take(start, stop))
        return block

    def results(start: int, stop: int, spare: Workspace) -> Any:
        return spare.array("found", (stop - start, *out.shape[1:]), np.float32)

    def write(start: int, stop: int, y: Any) -> None:
        tensors.in_pieces(torch.Tensor.copy_, out[start:stop], torch.from_numpy(y))

    return read, results, write
