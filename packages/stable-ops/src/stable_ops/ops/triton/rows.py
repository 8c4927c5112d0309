"""How a tensor is laid out for the kernels."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import torch

from mfi_command import BadInput

_NOWHERE = contextlib.nullcontext()


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
    if not x.is_cuda or _has_one_device() or x.device.index == torch.cuda.current_device():
        return _NOWHERE
    return torch.cuda.device(x.device)


@functools.cache
def _has_one_device() -> bool:
    # To ask which is the current one takes longer than the rest of a call.
    return torch.cuda.device_count() == 1
