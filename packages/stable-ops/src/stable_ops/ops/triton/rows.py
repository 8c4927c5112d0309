"""How a tensor is laid out for the kernels, and how many rows a program takes.

Nothing here depends on how many rows there are: a sum has the same order in every batch.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import torch

from mfi_command import BadInput

# Elements that a program holds at least, and the length of a piece of a longer row.
_TILE = 2048
_PIECE = 4096
# From here on a thread holds 32 elements instead of 16, so that two programs fit a multiprocessor.
_LONG = 16384


@dataclass(frozen=True)
class Plan:
    """`rows` rows of `block` columns to a program of `warps` warps; `whole` if a row fits the block."""

    rows: int
    block: int
    warps: int
    whole: bool


def plan(length: int, *, longest: int) -> Plan:
    """The launch for rows of that length; above `longest` they are read in pieces, twice."""
    if length > longest:
        return Plan(rows=1, block=_PIECE, warps=_PIECE // 256, whole=False)
    block = 1 << max(0, length - 1).bit_length()
    rows = max(1, _TILE // max(block, 16))
    warps = rows * block // (1024 if block >= _LONG else 512)
    return Plan(rows=rows, block=block, warps=min(32, max(4, warps)), whole=True)


def last(x: Any, axis: int) -> Any:
    """x with that axis at the end, contiguous and aligned; x itself if it is all that."""
    if x.ndim == 0 or not -x.ndim <= axis < x.ndim:
        raise BadInput(f"axis {axis} is not one of an array of shape {tuple(x.shape)}: pass one that it has")
    return packed(x if axis in (-1, x.ndim - 1) else x.movedim(axis, -1))


def packed(x: Any) -> Any:
    """x itself if it is contiguous and its first element is aligned, else a copy.

    Triton compiles another kernel for a pointer that is not divisible by 16; its sums may have another order.
    """
    x = x.contiguous()
    return x if x.data_ptr() % 16 == 0 else x.clone()


def on_device_of(x: Any) -> Any:
    """The context in which kernels go to the device of x (the interpreter's is the CPU)."""
    if not x.is_cuda or x.device.index == torch.cuda.current_device():
        return contextlib.nullcontext()
    return torch.cuda.device(x.device)
