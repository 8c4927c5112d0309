"""What each operator should answer, written apart from it and in longer arithmetic.

numpy's longdouble has 64 bits of precision on x86-64 and more on other Linux machines; where it is float64
(Windows, macOS on ARM) these oracles are as precise as the operators, still enough for float32 and 16-bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Long = NDArray[np.longdouble]


@dataclass(frozen=True)
class Oracle:
    """An operator's truth, and how it is called.

    Attributes
    ----------
    truth : callable
        Takes longdouble arrays, answers the unrounded result.
    arguments : tuple of str
        What it is called with: "x" a batch of rows, "weight" and "bias" one row, "up" another batch.
    floor : float
        Smallest magnitude whose ulp measures a float32 error (see `error_ulp`): 1 for layer_norm, whose
        error is relative to the row, not to an element near the mean.
    """

    truth: Callable[..., Long]
    arguments: tuple[str, ...] = ("x",)
    floor: float = 0.0


def softmax(x: Long) -> Long:
    """exp(x - max) over its sum."""
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def logsumexp(x: Long) -> Long:
    """From the sorted row, the largest element outside the sum."""
    ordered = np.sort(x, axis=-1)
    top = ordered[..., -1]
    total = top + np.log1p(np.exp(ordered[..., :-1] - top[..., None]).sum(axis=-1))
    return np.asarray(np.where(np.isinf(top), top, total))


def log_softmax(x: Long) -> Long:
    """From the sorted row, the largest element outside the sum."""
    ordered = np.sort(x, axis=-1)
    shifted = ordered[..., :-1] - ordered[..., -1:]
    result = (x - ordered[..., -1:]) - np.log1p(np.exp(shifted).sum(axis=-1, keepdims=True))
    undefined = np.isinf(ordered[..., -1:]) | np.isnan(ordered[..., -1:])
    return np.asarray(np.where(undefined, np.nan, result))


def layer_norm(x: Long, weight: Long, bias: Long) -> Long:
    """n x - sum(x) is exact in 64 bits for rows of float32 of one magnitude; eps = 1e-5."""
    n = x.shape[-1]
    centred = (n * x - x.sum(axis=-1, keepdims=True)) / n
    variance = np.square(centred).sum(axis=-1, keepdims=True) / n
    return np.asarray(centred / np.sqrt(variance + np.longdouble(1e-5)) * weight + bias)


def rms_norm(x: Long, weight: Long) -> Long:
    """x over the root of its mean square plus 1e-6."""
    mean_square = np.square(x).sum(axis=-1, keepdims=True) / x.shape[-1]
    return np.asarray(x / np.sqrt(mean_square + np.longdouble(1e-6)) * weight)


def gelu(x: Long) -> Long:
    """x times the normal distribution function, SciPy's in float64; 0 at -inf."""
    from scipy.special import ndtr

    return np.where(np.isneginf(x), 0.0, x * ndtr(x.astype(np.float64)))


def silu(x: Long) -> Long:
    """x over 1 + exp(-x); 0 at -inf."""
    return np.asarray(np.where(np.isneginf(x), 0.0, x / (1 + np.exp(-x))))


def swiglu(x: Long, up: Long) -> Long:
    """silu(x) times up."""
    return np.asarray(silu(x) * up)


ORACLES: dict[str, Oracle] = {
    "softmax": Oracle(softmax),
    "log_softmax": Oracle(log_softmax),
    "logsumexp": Oracle(logsumexp),
    "layer_norm": Oracle(layer_norm, ("x", "weight", "bias"), floor=1.0),
    "rms_norm": Oracle(rms_norm, ("x", "weight")),
    "gelu": Oracle(gelu),
    "silu": Oracle(silu),
    "swiglu": Oracle(swiglu, ("x", "up")),
}


def truth(op: str, *arguments: Any) -> Long:
    """What `op` should answer for these arrays (numpy, any float dtype), unrounded."""
    with np.errstate(all="ignore"):
        return ORACLES[op].truth(*(np.asarray(a).astype(np.float64).astype(np.longdouble) for a in arguments))
