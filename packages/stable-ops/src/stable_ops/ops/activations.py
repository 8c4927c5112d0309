"""gelu, silu and swiglu with their tails."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from mfi_command import BadInput
from stable_ops.arrays import Float64, map_elements, unwrap


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
    >>> gelu(-10.0)  # 0.5 * x * (1 + erf(x / sqrt(2))) answers -0
    np.float64(-7.61985302416053e-23)
    """
    if approximate not in ("none", "tanh"):
        raise BadInput(f"no approximation is named {approximate!r}: use 'none' or 'tanh'")
    operand = unwrap(x)
    function = _gelu if approximate == "none" else _gelu_tanh
    return operand.like(map_elements(function, operand), own_dtype=True)


def silu(x: Any) -> Any:
    """:math:`x\\,\\sigma(x) = x / (1 + e^{-x})`, shapes, dtypes and limits as `gelu`.

    Computed in float64 with a relative error of about :math:`4\\cdot 2^{-53}`, rounded once; below zero as
    :math:`x e^x / (1 + e^x)`, which does not overflow.

    Examples
    --------
    >>> silu(-800.0), silu(1.0)
    (np.float64(-0.0), np.float64(0.7310585786300049))
    """
    operand = unwrap(x)
    return operand.like(map_elements(_silu, operand), own_dtype=True)


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
    first, second = unwrap(gate, "gate"), unwrap(up, "up")
    if first.values.shape != second.values.shape:
        raise BadInput(f"gate {first.values.shape} and up {second.values.shape} differ: pass one shape")
    product = map_elements(lambda g, u: _silu(g) * u, first, second)
    return first.like(product, own_dtype=True)


def _gelu(x: Float64) -> Float64:
    from scipy.special import erfc, erfcx

    tail = np.minimum(x, 0.0)
    high, low = _square(tail)
    below = 0.5 * tail * erfcx(-tail / math.sqrt(2)) * np.exp(-0.5 * high) * (1.0 - 0.5 * low)
    above = 0.5 * x * erfc(-x / math.sqrt(2))
    # exp(-x^2/2) is zero long before -40; beyond it the factor erfcx(inf) * inf would be NaN.
    return np.where(x < -40.0, -0.0, np.where(x < 0, below, above))


def _square(x: Float64) -> tuple[Float64, Float64]:
    """x squared as a rounded part and its error (Veltkamp's splitting, Dekker's product)."""
    big = 134217729.0 * x
    head = big - (big - x)
    rest = x - head
    high = x * x
    return high, ((head * head - high) + 2.0 * head * rest) + rest * rest


def _gelu_tanh(x: Float64) -> Float64:
    exponent = 2.0 * math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)
    return _times_sigmoid(x, exponent)


def _silu(x: Float64) -> Float64:
    return _times_sigmoid(x, x)


def _times_sigmoid(x: Float64, exponent: Float64) -> Float64:
    """x times 1/(1 + e^-exponent), for an exponent of the sign of x."""
    small = np.exp(-np.abs(exponent))
    falling = np.where(np.isneginf(x), -0.0, x * small)
    return np.where(exponent < 0, falling, x) / (1.0 + small)
