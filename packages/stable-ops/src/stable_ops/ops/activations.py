"""gelu, silu and swiglu with their tails."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from mfi_command import BadInput
from stable_ops.arrays import Float64, Operand, has_kernels, map_elements, unwrap, without_gradients
from stable_ops.fp.formats import FP64


def gelu(x: Any, *, approximate: Literal["none", "tanh"] = "none") -> Any:
    """:math:`x\\,\\Phi(x)` with the normal distribution function, or its tanh approximation.

    Parameters
    ----------
    x : numpy array or torch tensor, any shape
    approximate : {"none", "tanh"}
        "none" is :math:`\\tfrac{x}{2}\\,\\mathrm{erfc}(-x/\\sqrt 2)`; "tanh" is
        :math:`\\tfrac{x}{2}(1 + \\tanh u)`, :math:`u = \\sqrt{2/\\pi}\\,(x + 0.044715\\,x^3)`.

    Returns
    -------
    numpy array or torch tensor
        The shape, dtype and device of x. -0 at -inf (the limit), +inf at +inf, NaN at NaN.

    Notes
    -----
    Computed in float64 and rounded once, as the correctly rounded value except within :math:`2^{-44}`
    relative of a tie. The usual :math:`1 + \\mathrm{erf}(x/\\sqrt 2)` cancels for negative x and is zero
    below -5.5 in float32, where the truth is -1e-7; here the tail is
    :math:`\\tfrac{x}{2} e^{-x^2/2}\\,\\mathrm{erfcx}(-x/\\sqrt 2)`, with x squared in two parts. The tanh
    form is :math:`x / (1 + e^{-2u})`, in float64 with a relative error of about :math:`(2|u| + 4)\\,2^{-53}`.

    Raises
    ------
    BadInput
        An unknown approximation, a dtype that is not a float.

    References
    ----------
    Hendrycks, Gimpel, Gaussian Error Linear Units (2016).

    Examples
    --------
    >>> print(f"{gelu(-10.0):.12e}")  # 0.5 * x * (1 + erf(x / sqrt(2))) answers -0
    -7.619853024161e-23
    """
    if approximate not in ("none", "tanh"):
        raise BadInput(f"no approximation is named {approximate!r}: use 'none' or 'tanh'")
    if has_kernels(x):
        from stable_ops.ops.triton import activations as kernels

        host = functools.partial(gelu, approximate=approximate)
        return kernels.gelu(without_gradients(x, "x"), host, approximate=approximate)
    operand = unwrap(x)
    function = _normal_distribution if approximate == "none" else _tanh_distribution
    return operand.like(map_elements(_gated(function, operand), operand), own_dtype=True)


def silu(x: Any) -> Any:
    """:math:`x\\,\\sigma(x) = x / (1 + e^{-x})`, shapes, dtypes and limits as `gelu`.

    Computed in float64 with a relative error of about :math:`4\\cdot 2^{-53}`, rounded once; below zero as
    :math:`x e^x / (1 + e^x)`, which does not overflow.

    Examples
    --------
    >>> silu(-800.0), silu(1.0)
    (np.float64(-0.0), np.float64(0.7310585786300049))
    """
    if has_kernels(x):
        from stable_ops.ops.triton import activations as kernels

        return kernels.silu(without_gradients(x, "x"), silu)
    operand = unwrap(x)
    return operand.like(map_elements(_gated(_logistic, operand), operand), own_dtype=True)


def swiglu(gate: Any, up: Any) -> Any:
    """:math:`\\mathrm{silu}(gate) \\cdot up`, rounded once.

    Parameters
    ----------
    gate, up : numpy arrays or torch tensors of one shape
        The result has the dtype and device of `gate`.

    Notes
    -----
    The composed `silu(gate) * up` of two 16-bit operations rounds twice and misses the nearest number in
    about a quarter of the cases. Relative error before the rounding: about :math:`5\\cdot 2^{-53}`.

    Raises
    ------
    BadInput
        Shapes that differ.

    References
    ----------
    Shazeer, GLU Variants Improve Transformer (2020).

    Examples
    --------
    >>> swiglu([1.0, 2.0], [3.0, -1.0]).round(4)
    array([ 2.1932, -1.7616])
    """
    if has_kernels(gate, up) and gate.shape == up.shape:
        from stable_ops.ops.triton import activations as kernels

        gate, up = without_gradients(gate, "gate"), without_gradients(up, "up")
        return kernels.swiglu(gate, up, _silu_float64)
    first, second = unwrap(gate, "gate"), unwrap(up, "up")
    if first.values.shape != second.values.shape:
        raise BadInput(f"gate {first.values.shape} and up {second.values.shape} differ: pass one shape")
    silu_of = _gated(_logistic, first)
    product = map_elements(lambda g, u: silu_of(g) * u, first, second)
    return first.like(product, own_dtype=True)


def _silu_float64(x: Any) -> Any:
    """silu before its rounding."""
    operand = unwrap(x)
    with np.errstate(all="ignore"):
        return operand.like(_gated(_logistic, operand)(operand.values.astype(np.float64)))


def _gated(distribution: Callable[[Float64], Float64], operand: Operand) -> Callable[[Float64], Float64]:
    """x times a distribution function of x; for formats narrower than float64, off their ties."""

    def gated(x: Float64) -> Float64:
        share = distribution(x)
        if operand.format != FP64:
            share = _off_ties(share, x)
        return np.where(np.isneginf(x), -0.0, x * share)

    return gated


def _off_ties(share: Float64, x: Float64) -> Float64:
    """Keep a share that float64 cannot tell from 1/2 or 1 on its own side of it.

    x / 2 of a subnormal x, or a product of two float16 numbers, is often exactly between two numbers of the
    format, and the lost part decides. Products of two float32 numbers have 48 bits, so a step of
    2^-50 passes no other tie.
    """
    step = 2.0**-50
    below_one = np.minimum(share, 1.0 - step)
    return np.where(np.abs(x) < 2.0**-48, 0.5 * (1.0 + np.copysign(step, x)), below_one)


def _normal_distribution(x: Float64) -> Float64:
    from scipy.special import erfc, erfcx

    # exp(-x^2/2) is zero long before -40, while erfcx times zero further out would be NaN.
    tail = np.clip(x, -40.0, 0.0)
    high, low = _square(tail)
    below = 0.5 * erfcx(-tail / math.sqrt(2)) * np.exp(-0.5 * high) * (1.0 - 0.5 * low)
    above = 0.5 * erfc(-np.maximum(x, 0.0) / math.sqrt(2))
    return np.where(x < 0, below, above)


def _square(x: Float64) -> tuple[Float64, Float64]:
    """x squared as a rounded part and its error (Veltkamp's splitting, Dekker's product)."""
    big = 134217729.0 * x
    head = big - (big - x)
    rest = x - head
    high = x * x
    return high, ((head * head - high) + 2.0 * head * rest) + rest * rest


def _tanh_distribution(x: Float64) -> Float64:
    return _logistic(2.0 * math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x))


def _logistic(t: Float64) -> Float64:
    small = np.exp(-np.abs(t))
    return np.where(t < 0, small, 1.0) / (1.0 + small)
