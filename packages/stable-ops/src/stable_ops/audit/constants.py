"""Which tensors of a run are made from constants alone: positions, masks, tables of sines."""

from __future__ import annotations

from typing import Any

import torch

# What they make does not depend on the values of a tensor.
MAKERS = {
    *("arange", "eye", "full", "linspace", "ones", "scalar_tensor", "zeros", "lift_fresh"),
    *("full_like", "ones_like", "zeros_like", "new_full", "new_ones", "new_zeros"),
}
# Larger ones are not kept alive for the sake of being recognised.
_LARGEST = 2**20


class Constants:
    """Tensors made from constants, known by their storage, so that their views are known too.

    They are kept alive: an address that is free again would name another tensor.
    """

    def __init__(self) -> None:
        self._kept: dict[int, torch.Tensor] = {}

    def hold(self, args: tuple[Any, ...]) -> bool:
        """Whether there are tensors among the arguments, and all are constants."""
        if not self._kept:
            return False
        tensors = list(_tensors(args))
        return bool(tensors) and all(_address(t) in self._kept for t in tensors)

    def keep(self, result: Any) -> None:
        """Remember what an operation made from constants alone."""
        for tensor in _tensors((result,)):
            if tensor.numel() <= _LARGEST and (address := _address(tensor)):
                self._kept[address] = tensor

    def forget(self, written: Any) -> None:
        """A tensor that something else was written into is no constant any more."""
        if self._kept and isinstance(written, torch.Tensor):
            self._kept.pop(_address(written), None)


def _tensors(args: Any) -> Any:
    for a in args:
        if isinstance(a, torch.Tensor):
            yield a
        elif isinstance(a, (tuple, list)):
            yield from _tensors(a)


def _address(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
