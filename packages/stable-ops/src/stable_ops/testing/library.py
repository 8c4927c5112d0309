"""How a kernel is called: what it is given, on which device, and what comes back."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput, require

Function = Callable[..., Any]
Layout = Literal["contiguous", "strided", "transposed"]


class Library(Protocol):
    """Arrays there and back."""

    def give(self, x: NDArray[Any], layout: Layout = "contiguous") -> Any:
        """A copy as the kernel takes it, laid out in memory in that way."""

    def take(self, result: Any) -> NDArray[Any]:
        """A copy of what came back, with numpy's dtype of that name."""


class Numpy:
    """numpy arrays."""

    def give(self, x: NDArray[Any], layout: Layout = "contiguous") -> Any:
        """A copy, C-contiguous, every second column of a wider array, or with the rows innermost."""
        if layout == "strided":
            return np.repeat(x, 2, axis=-1)[..., ::2]
        return np.array(x, order="C" if layout == "contiguous" else "F")

    def take(self, result: Any) -> NDArray[Any]:
        """A copy."""
        return np.array(result)


class Torch:
    """Tensors on one device."""

    def __init__(self, device: str) -> None:
        torch = require("torch", extra="torch", distribution="mfi-stable-ops")
        try:
            self.device = torch.device(device)
            torch.empty(1, device=self.device)
        except (RuntimeError, AssertionError) as error:
            message = str(error).splitlines()[0]
            raise BadInput(f"device {device!r} cannot be used: {message}") from error

    def give(self, x: NDArray[Any], layout: Layout = "contiguous") -> Any:
        """A tensor, contiguous, every second column of a wider one, or with the rows innermost."""
        torch = require("torch", extra="torch", distribution="mfi-stable-ops")
        host = np.array(x, order="C")
        if x.dtype.name == "bfloat16":
            tensor = torch.from_numpy(host.view(np.int16)).view(torch.bfloat16).to(self.device)
        else:
            tensor = torch.from_numpy(host).to(self.device)
        if layout == "strided":
            return tensor.repeat_interleave(2, -1)[..., ::2]
        return tensor if layout == "contiguous" else tensor.movedim(0, -1).contiguous().movedim(-1, 0)

    def take(self, result: Any) -> NDArray[Any]:
        """A copy in host memory."""
        torch = require("torch", extra="torch", distribution="mfi-stable-ops")
        host = torch.as_tensor(result).detach().cpu()
        if host.dtype != torch.bfloat16:
            return np.array(host.numpy())
        ml_dtypes = require("ml_dtypes", extra="testing", distribution="mfi-stable-ops")
        return np.array(host.contiguous().view(torch.int16).numpy()).view(ml_dtypes.bfloat16)


def library(name: str, device: str = "cpu") -> Library:
    """The library of that name; another device than the CPU is torch's."""
    if name not in ("numpy", "torch"):
        raise BadInput(f"library {name!r} is not known: use numpy or torch")
    if name == "numpy" and device != "cpu":
        raise BadInput(f"numpy arrays lie in host memory, not on {device!r}: use the library torch")
    return Numpy() if name == "numpy" else Torch(device)


def along_rows(function: Function, given: Library) -> Function:
    """The function with axis=-1 or dim=-1, if it has such a parameter."""
    try:
        parameters = set(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        # Built in, and silent about its parameters: torch's functions name the axis "dim".
        return _with_dim(function) if isinstance(given, Torch) else function
    axis = {name: -1 for name in ("axis", "dim") if name in parameters}
    return (lambda *a: function(*a, **axis)) if axis else function


def _with_dim(function: Function) -> Function:
    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments, dim=-1)
        except TypeError:
            return function(*arguments)

    return call
