"""gelu, silu and swiglu with their tails."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput
from stable_ops.arrays import Float64, has_kernels, unwrap, without_gradients
from stable_ops.blocks import Loops, Workspace, look_up, map_elements
from stable_ops.compiled import mapping
from stable_ops.fp.formats import BF16, FP64, Format
from stable_ops.fp.rounding import round_bfloat16
from stable_ops.ops import tensors

_Gate = Literal["gelu", "gelu_tanh", "silu"]


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
    form is :math:`x / (1 + e^{-2u})`, in float64 with a relative error of at most about
    :math:`(12|u| + 4)\\,2^{-53}`. Cost O(n); of 16-bit dtypes all 65,536 results are kept once computed.

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
    return _elementwise("gelu" if approximate == "none" else "gelu_tanh", x)


def silu(x: Any) -> Any:
    """:math:`x\\,\\sigma(x) = x / (1 + e^{-x})`.

    Parameters
    ----------
    x : numpy array or torch tensor, any shape

    Returns
    -------
    numpy array or torch tensor
        The shape, dtype and device of x. -0 at -inf (the limit), +inf at +inf, NaN at NaN.

    Notes
    -----
    Computed in float64 with a relative error of at most about :math:`4\\cdot 2^{-53}` (and, of float64
    inputs where :math:`e^x` is subnormal, :math:`|x|\\,2^{-1074}`), rounded once; far below zero as
    :math:`x e^x`, which does not overflow. float32 arithmetic answers 0 from -89 on. Cost O(n).

    Raises
    ------
    BadInput
        A dtype that is not a float.

    References
    ----------
    Elfwing, Uchibe, Doya, Sigmoid-weighted linear units (2018).

    Examples
    --------
    >>> silu(-800.0), silu(1.0)
    (np.float64(-0.0), np.float64(0.7310585786300049))
    """
    if has_kernels(x):
        from stable_ops.ops.triton import activations as kernels

        return kernels.silu(without_gradients(x, "x"), silu)
    return _elementwise("silu", x)


def swiglu(gate: Any, up: Any) -> Any:
    """:math:`\\mathrm{silu}(gate) \\cdot up`, rounded once.

    Parameters
    ----------
    gate, up : numpy arrays or torch tensors of one shape
        The result has the dtype and device of `gate`.

    Notes
    -----
    The composed `silu(gate) * up` of two 16-bit operations rounds twice and misses the nearest number in
    about a quarter of the cases. Relative error before the rounding: about :math:`5\\cdot 2^{-53}`. Cost
    O(n).

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
    if mapping.fits_elements(gate, up):
        return mapping.map_elements("swiglu", gate, up)
    if tensors.fits(gate, up) and gate.shape == up.shape:
        detached = without_gradients(gate, "gate"), without_gradients(up, "up")
        return tensors.map_elements(_silu_times(tensors.loops()), *detached)
    first, second = unwrap(gate, "gate"), unwrap(up, "up")
    if first.values.shape != second.values.shape:
        raise BadInput(f"gate {first.values.shape} and up {second.values.shape} differ: pass one shape")
    loops = tensors.array_loops(wide=first.format == FP64)
    return first.like(map_elements(_silu_times(loops), first, second), own_dtype=True)


def _silu_float64(x: Any) -> Any:
    """silu before its rounding."""
    operand = unwrap(x)
    with np.errstate(all="ignore"):
        loops = tensors.array_loops(wide=operand.format == FP64)
        gate = _raised(operand.values.astype(np.float64))
        return operand.like(_gated("silu", loops)(Workspace(), gate))


def _silu_times(loops: Loops) -> Callable[[Workspace, Float64, Float64], Float64]:
    silu_of = _gated("silu", loops)

    def product(spare: Workspace, gate: Float64, up: Float64) -> Float64:
        return np.multiply(silu_of(spare, gate if loops.wide else _raised(gate)), up, out=up)

    return product


def _raised(gate: Float64) -> Float64:
    """Finite gates from -700 on: below -745 float64 answers a silu of zero, whose product with inf is NaN."""
    deep = gate < -700.0
    if deep.any():
        gate[deep & (gate > -np.inf)] = -700.0
    return gate


def _elementwise(name: _Gate, x: Any) -> Any:
    if mapping.fits_elements(x) and x.dtype.itemsize == 4:
        return mapping.map_elements(name, x)
    if tensors.fits(x):
        x = without_gradients(x, "x")
        format = tensors.format_of(x)
        if format is not None:
            return tensors.from_codes(look_up(_table(name, format), tensors.codes(x)), x.dtype)
        # torch's erfc brings its own threads.
        return tensors.map_elements(_gated(name, tensors.loops()), x, threads=1 if name == "gelu" else None)
    operand = unwrap(x)
    if operand.values.dtype.itemsize == 2:
        codes = look_up(_table(name, operand.format), operand.values.view(np.uint16))
        return operand.like(codes.view(operand.values.dtype))
    loops = tensors.array_loops(wide=operand.format == FP64)
    return operand.like(map_elements(_gated(name, loops), operand), own_dtype=True)


@functools.cache
def _table(name: _Gate, format: Format) -> NDArray[np.uint16]:
    """The results for all 65,536 numbers of a 16-bit format, as codes (128 KiB)."""
    codes, gated = np.arange(2**16, dtype=np.uint16), _gated(name, tensors.array_loops(wide=False))
    with np.errstate(all="ignore"):
        if format == BF16:
            x = (codes.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
            y = round_bfloat16(gated(Workspace(), x))
            return (y.view(np.uint32) >> 16).astype(np.uint16)
        x = codes.view(np.float16).astype(np.float64)
        return gated(Workspace(), x).astype(np.float16).view(np.uint16)


def _gated(name: _Gate, loops: Loops) -> Callable[[Workspace, Float64], Float64]:
    """x times a distribution function of x, over x; for formats narrower than float64, off their ties."""
    distribution = _DISTRIBUTIONS[name]

    def gated(spare: Workspace, x: Float64) -> Float64:
        # -inf times zero would be NaN; where the share is zero, -0 is the limit.
        np.maximum(x, -1e300 if loops.wide else -2000.0, out=x)
        share: Float64 = spare.array("share", x.shape)
        distribution(x, share, spare, loops)
        if not loops.wide:
            _off_ties(share, x, spare)
        x *= share
        return x

    return gated


def _off_ties(share: Float64, x: Float64, spare: Workspace) -> None:
    """Keep a share that float64 cannot tell from 1/2 or 1 on its own side of it.

    x / 2 of a subnormal x, or a product of two float16 numbers, is often exactly between two numbers of the
    format, and the lost part decides. Products of two float32 numbers have 48 bits, so a step of
    2^-50 passes no other tie.
    """
    step = 2.0**-50
    np.minimum(share, 1.0 - step, out=share)
    tiny = np.abs(x, out=spare.array("magnitude", x.shape)) < 2.0**-48
    if tiny.any():
        share[tiny] = 0.5 * (1.0 + np.copysign(step, x[tiny]))


def _normal_distribution(x: Float64, share: Float64, spare: Workspace, loops: Loops) -> None:
    from scipy.special import erfcx

    np.multiply(x, -math.sqrt(0.5), out=share)
    loops.erfc(share, share)
    share *= 0.5
    # The rounding of the argument is multiplied by x^2. exp(-x^2/2) is zero long before -40, while erfcx
    # times zero further out would be NaN.
    deep = x < -2.0
    if deep.any():
        tail = np.maximum(x[deep], -40.0)
        high, low = _square(tail)
        share[deep] = 0.5 * erfcx(-tail / math.sqrt(2)) * np.exp(-0.5 * high) * (1.0 - 0.5 * low)


def _square(x: Float64) -> tuple[Float64, Float64]:
    """x squared as a rounded part and its error (Veltkamp's splitting, Dekker's product)."""
    big = 134217729.0 * x
    head = big - (big - x)
    rest = x - head
    high = x * x
    return high, ((head * head - high) + 2.0 * head * rest) + rest * rest


def _tanh_distribution(x: Float64, share: Float64, spare: Workspace, loops: Loops) -> None:
    t: Float64 = spare.array("magnitude", x.shape)
    np.multiply(x, x, out=t)
    t *= 0.044715
    t *= x
    t += x
    t *= 2.0 * math.sqrt(2.0 / math.pi)
    _logistic(t, share, spare, loops)


def _logistic(t: Float64, share: Float64, spare: Workspace, loops: Loops) -> None:
    np.negative(t, out=share)
    loops.exp(share, share)
    share += 1.0
    np.reciprocal(share, out=share)
    # exp(-t) overflows at -709, where the share is not yet zero.
    deep = t < -700.0
    if deep.any():
        share[deep] = np.exp(t[deep])


_DISTRIBUTIONS = {"gelu": _normal_distribution, "gelu_tanh": _tanh_distribution, "silu": _logistic}
