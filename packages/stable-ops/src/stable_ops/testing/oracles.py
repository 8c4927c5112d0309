"""What each operator should answer, written apart from it and in longer arithmetic.

numpy's longdouble has 64 bits of precision on x86-64 and more on other Linux machines; where it is float64
(Windows, macOS on ARM) they are float64, numpy's sums in pairs. Either way a result within 2^-40 of a tie is
left to `stable_ops.testing.rounded`, which settles it by ball arithmetic.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import stable_ops
from stable_ops.fp.formats import get_format
from stable_ops.fp.rounding import round_float64

Long = NDArray[np.longdouble]

# What lies this close to a tie, relatively, is left to ball arithmetic; far more than longdouble loses.
NEAR = 2.0**-40
# The same for results that are a difference of larger terms, relative to those.
CANCELLED = 2.0**-46


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
    operator, options : str, dict
        Our own function and the keywords that make it this form.
    terms : callable, optional
        Given the truth and the arguments, the magnitude of what may have cancelled in it.
    first : callable, optional
        What is rounded to the format before `truth` sees it in place of x (the forms with two roundings).
    """

    truth: Callable[..., Long]
    arguments: tuple[str, ...] = ("x",)
    floor: float = 0.0
    operator: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    terms: Callable[..., Long] | None = None
    first: Callable[[Long], Long] | None = None


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


def rms_ratio(x: Long) -> Long:
    """x over the root of its mean square plus 1e-6."""
    mean_square = np.square(x).sum(axis=-1, keepdims=True) / x.shape[-1]
    return np.asarray(x / np.sqrt(mean_square + np.longdouble(1e-6)))


def rms_norm(x: Long, weight: Long) -> Long:
    """The ratio times the weight."""
    return np.asarray(rms_ratio(x) * weight)


def rms_norm_gemma(x: Long, weight: Long) -> Long:
    """The ratio times 1 + weight."""
    return np.asarray(rms_ratio(x) * (1 + weight))


def rms_norm_hf(ratio: Long, weight: Long) -> Long:
    """The ratio, already rounded to the format, times the weight."""
    return np.asarray(ratio * weight)


def gelu(x: Long) -> Long:
    """x times the normal distribution function, SciPy's in float64; 0 at -inf."""
    from scipy.special import ndtr

    return np.where(np.isneginf(x), 0.0, x * ndtr(x.astype(np.float64)))


def gelu_tanh(x: Long) -> Long:
    """x over 1 + exp(-2u), u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    scale = 2 * np.sqrt(2 / np.longdouble("3.14159265358979323846"))
    twice_u = scale * (x + np.longdouble("0.044715") * x * x * x)
    return np.asarray(np.where(np.isneginf(x), 0.0, x / (1 + np.exp(-twice_u))))


def silu(x: Long) -> Long:
    """x over 1 + exp(-x); 0 at -inf."""
    return np.asarray(np.where(np.isneginf(x), 0.0, x / (1 + np.exp(-x))))


def swiglu(x: Long, up: Long) -> Long:
    """silu(x) times up."""
    return np.asarray(silu(x) * up)


def _size_of_the_peak(_: Long, x: Long) -> Long:
    peak = np.abs(x.max(axis=-1))
    return np.where(np.isfinite(peak), peak, 0)


def _size_with_bias(y: Long, x: Long, weight: Long, bias: Long) -> Long:
    return np.asarray(np.abs(y) + 2 * np.abs(bias) + np.abs(weight))


_WEIGHTED = ("x", "weight")
ORACLES: dict[str, Oracle] = {
    "softmax": Oracle(softmax),
    "log_softmax": Oracle(log_softmax),
    "logsumexp": Oracle(logsumexp, terms=_size_of_the_peak),
    "layer_norm": Oracle(layer_norm, ("x", "weight", "bias"), floor=1.0, terms=_size_with_bias),
    "rms_norm": Oracle(rms_norm, _WEIGHTED),
    "rms_norm_hf": Oracle(
        rms_norm_hf, _WEIGHTED, operator="rms_norm", options={"form": "hf"}, first=rms_ratio
    ),
    "rms_norm_gemma": Oracle(rms_norm_gemma, _WEIGHTED, operator="rms_norm", options={"form": "gemma"}),
    "gelu": Oracle(gelu),
    "gelu_tanh": Oracle(gelu_tanh, operator="gelu", options={"approximate": "tanh"}),
    "silu": Oracle(silu),
    "swiglu": Oracle(swiglu, ("x", "up")),
}


def ours(op: str) -> Callable[..., Any]:
    """This library's function for a key of `ORACLES`."""
    oracle = ORACLES[op]
    function: Callable[..., Any] = getattr(stable_ops, oracle.operator or op)
    return functools.partial(function, **oracle.options) if oracle.options else function


def truth(op: str, *arguments: Any) -> Long:
    """What `op` should answer for these arrays (numpy, any float dtype), unrounded."""
    return enclose(op, *arguments)[0]


def enclose(op: str, *arguments: Any) -> tuple[Long, Long, Long]:
    """The truth in longdouble, and two ends between which the exact value lies."""
    oracle = ORACLES[op]
    with np.errstate(all="ignore"):
        longs = [np.asarray(a).astype(np.float64).astype(np.longdouble) for a in arguments]
        if oracle.first is not None:
            return _enclose_second(oracle, np.asarray(arguments[0]).dtype.name, longs)
        y = oracle.truth(*longs)
        margin = NEAR * np.abs(y)
        if oracle.terms is not None:
            margin = margin + CANCELLED * oracle.terms(y, *longs)
        margin = np.where(np.isfinite(margin), margin, 0)
        return y, y - margin, y + margin


def _enclose_second(oracle: Oracle, dtype: str, longs: list[Long]) -> tuple[Long, Long, Long]:
    """Of a form with two roundings: the first may be near a tie, the product after it is exact."""
    assert oracle.first is not None
    ratio = oracle.first(longs[0])
    format = get_format(dtype)
    ends = [round_float64((ratio * (1 + e)).astype(np.float64), format) for e in (0.0, -NEAR, NEAR)]
    middle, low, high = (oracle.truth(e.astype(np.longdouble), *longs[1:]) for e in ends)
    return middle, low, high
