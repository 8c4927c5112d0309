"""What kind of array came in, and how the answer goes back: the only module that knows about torch."""

from __future__ import annotations

import functools
import importlib.util
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput
from stable_ops.fp.formats import BF16, FP16, FP32, FP64, Format
from stable_ops.fp.rounding import round_bfloat16, round_small

Float64 = NDArray[np.float64]
_FORMATS = {"float64": FP64, "float32": FP32, "float16": FP16, "bfloat16": BF16}
_KERNEL_DTYPES = {"torch.float32", "torch.float16", "torch.bfloat16"}


@dataclass(frozen=True)
class Operand:
    """An argument as a numpy array that holds its values exactly, and the way back to its own kind.

    Attributes
    ----------
    values : numpy.ndarray
        The values; a torch bfloat16 tensor arrives as float32, which holds each of them.
    format : Format
        The format the argument is stored in, to which a result is rounded once.
    tensor : torch.Tensor or None
        The argument itself if it was a tensor.
    """

    values: NDArray[Any]
    format: Format
    tensor: Any = None

    def round(self, y: Float64) -> NDArray[Any]:
        """Round float64 once to `format`, in the dtype of `values`."""
        return round_once(y, self.format, self.values.dtype)

    def like(self, array: NDArray[Any], *, own_dtype: bool = False) -> Any:
        """The array in the argument's library and on its device; with `own_dtype` in its dtype too."""
        if self.tensor is None:
            return array[()]  # a 0-d array becomes a scalar, as numpy's own functions answer
        tensor = sys.modules["torch"].from_numpy(np.ascontiguousarray(array).reshape(array.shape))
        return tensor.to(device=self.tensor.device, dtype=self.tensor.dtype if own_dtype else tensor.dtype)

    def restore(self, y: Float64) -> Any:
        """Float64 rounded once to the argument's format, in its library, device and dtype."""
        return self.like(self.round(y), own_dtype=True)


def is_tensor(x: Any) -> bool:
    """Whether x is a torch tensor, found without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, getattr(torch, "Tensor", ()))


def has_kernels(*tensors: Any) -> bool:
    """Whether all are tensors of one CUDA device in formats that `stable_ops.ops.triton` computes.

    Neither torch nor Triton is imported to find out. Triton is there wherever torch for CUDA is, on Linux.
    """
    return (
        all(is_tensor(x) and x.is_cuda and str(x.dtype) in _KERNEL_DTYPES for x in tensors)
        and (len(tensors) == 1 or len({x.device for x in tensors}) == 1)
        and sys.modules["torch"].version.cuda is not None
        and _has_triton()
    )


@functools.cache
def _has_triton() -> bool:
    # Cached: a search of the path takes longer than the start of a kernel.
    return importlib.util.find_spec("triton") is not None


def without_gradients(x: Any, name: str) -> Any:
    """The tensor detached; one that asks for gradients is refused."""
    if x.requires_grad and sys.modules["torch"].is_grad_enabled():
        raise BadInput(
            f"{name} asks for gradients, which stable_ops does not compute: pass {name}.detach(), call under "
            f"torch.no_grad(), or train with torch.nn.functional"
        )
    return x.detach()


def unwrap(x: Any, name: str = "x") -> Operand:
    """Read a numpy array, a torch tensor, or numbers in (nested) sequences, which become float64.

    Integers become float64, another byte order the machine's own, a subclass of numpy's array a plain one.

    Raises
    ------
    BadInput
        For a dtype other than float16, bfloat16, float32, float64, a masked array or sparse tensor, and for
        a tensor that asks for gradients: these functions do not differentiate.
    """
    if not is_tensor(x):
        if isinstance(x, np.ma.MaskedArray):
            raise BadInput(f"{name} is a masked array: pass what its holes stand for, {name}.filled(value)")
        values = np.asarray(x)
        if values.dtype.kind in "iub":
            values = values.astype(np.float64)
        if not values.dtype.isnative:
            values = values.astype(values.dtype.newbyteorder("="))
        return Operand(values, _format_of(values.dtype.name, name))
    if str(x.layout) != "torch.strided":
        raise BadInput(f"{name} has layout {x.layout}: pass {name}.to_dense()")
    format = _format_of(str(x.dtype).removeprefix("torch."), name)
    host = without_gradients(x, name).cpu()
    return Operand((host.float() if format == BF16 else host).numpy(), format, x)


def round_once(y: Float64, format: Format, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Float64 to `dtype` with one rounding to `format`."""
    out = np.empty(np.shape(y), dtype=dtype)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        round_into(out, np.array(y), format)
    return out


def round_into(out: NDArray[Any], y: NDArray[Any], format: Format) -> None:
    """Float64 into `out` with one rounding to `format`; y may be overwritten.

    numpy's own casts to float32 and float16 round once; ml_dtypes' cast to bfloat16 goes through float32,
    so that rounding is done before it.
    """
    if format == BF16:
        y = round_bfloat16(y)
    elif format == FP16:
        round_small(y, FP16)
    np.copyto(out, y, casting="unsafe")


def _format_of(dtype: str, name: str) -> Format:
    if dtype not in _FORMATS:
        raise BadInput(f"{name} has dtype {dtype}: convert it to one of {', '.join(_FORMATS)}")
    return _FORMATS[dtype]
