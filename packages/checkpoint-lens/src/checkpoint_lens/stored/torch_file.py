"""torch .bin and .pt: a zip of storages under a pickle, read with weights_only so that it cannot run code."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from checkpoint_lens.checkpoint import TensorInfo
from mfi_command import BadInput, require

if TYPE_CHECKING:
    import torch

# What numpy has no name for goes over bit for bit.
_BITS = {
    "bfloat16": (np.int16, ml_dtypes.bfloat16),
    "float8_e4m3fn": (np.int8, ml_dtypes.float8_e4m3fn),
    "float8_e5m2": (np.int8, ml_dtypes.float8_e5m2),
}


class TorchFile:
    """One file of torch.save: a dictionary of tensors, mapped and not loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tensors = _load(path)

    @cached_property
    def infos(self) -> Mapping[str, TensorInfo]:
        """Every tensor of the dictionary."""
        return {
            name: TensorInfo(name, tuple(value.shape), _dtype(value), value.numel() * value.element_size())
            for name, value in self._tensors.items()
        }

    def read(self, name: str) -> np.ndarray[Any, Any]:
        """The values of one tensor, copied out of the mapped file."""
        value = self._tensors[name].detach().contiguous()
        if _dtype(value) not in _BITS:
            return np.array(value.numpy())
        bits, kind = _BITS[_dtype(value)]
        torch = require("torch", extra="torch", distribution="checkpoint-lens")
        whole: np.ndarray[Any, Any] = value.view(getattr(torch, np.dtype(bits).name)).numpy()
        return np.array(whole.view(kind))


def _dtype(value: torch.Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _load(path: Path) -> dict[str, torch.Tensor]:
    torch = require("torch", extra="torch", distribution="checkpoint-lens")
    try:
        found = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except UnpicklingError as error:
        raise BadInput(
            f"{path} holds more than tensors: its pickle asks for code, which was not run; "
            "save model.state_dict() as safetensors"
        ) from error
    except (RuntimeError, EOFError, ValueError) as error:
        raise BadInput(
            f"{path} is not a whole torch checkpoint in the zip form of torch >= 1.6; save it again, "
            "better as safetensors"
        ) from error
    if not isinstance(found, dict):
        raise BadInput(f"{path} holds a {type(found).__name__}; expected a dictionary of names to tensors")
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor) or value.layout != torch.strided:
            raise BadInput(
                f"{path}: {name!r} is a {type(value).__name__}, no dense tensor; save the state_dict() alone"
            )
    return dict(found)
