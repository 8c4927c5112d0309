"""layer_norm and rms_norm: the mean in two parts, the root without overflow, one rounding."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from mfi_command import BadInput
from stable_ops.arrays import Float64, Operand, has_kernels, map_rows, unwrap, without_gradients


def layer_norm(x: Any, weight: Any = None, bias: Any = None, *, eps: float = 1e-5, axis: int = -1) -> Any:
    """:math:`y = (x - \\mu)\\,/\\sqrt{\\sigma^2 + \\epsilon} \\cdot w + b` over one axis.

    Parameters
    ----------
    x : numpy array or torch tensor, shape (..., n, ...)
    weight, bias : array or tensor of shape (n,), optional
        May have another dtype than x; used as stored.
    eps : float
        Added to the variance (of the whole row: divided by n, not n - 1), inside the root.
    axis : int

    Returns
    -------
    numpy array or torch tensor
        The shape, dtype and device of x.

    Notes
    -----
    The mean is a rounded one plus the mean of what remains, so :math:`x - \\mu` has a relative error of a
    few :math:`2^{-53}` even where the mean is 10,000 standard deviations, and a row of equal values gives
    exactly the bias. The result, computed in float64, is rounded once: before that the error is at most about
    :math:`(8 + \\log_2 n)\\,2^{-53}(|y - b| + |b|)`. A float32 or 16-bit result is the correctly rounded one
    except where the exact value is that close to a tie. Forming the variance as :math:`E[x^2] - \\mu^2` in
    float32 instead loses :math:`2\\log_2(\\mu/\\sigma)` bits. With eps = 0 a row of equal values is 0/0,
    NaN. For float64 rows with entries that differ by more than :math:`2^{50}` the small ones carry the
    error of the large. Cost O(n).

    Raises
    ------
    BadInput
        A weight or bias that is not of shape (n,), a negative eps.

    References
    ----------
    Ba, Kiros, Hinton, Layer Normalization (2016); Higham, Accuracy and Stability, section 1.9 (variance).

    Examples
    --------
    >>> layer_norm([1e4 + 1, 1e4 + 2, 1e4 + 3], eps=0.0)
    array([-1.22474487,  0.        ,  1.22474487])
    """
    _require_eps(eps)
    if has_kernels(x):
        from stable_ops.ops.triton import norms as kernels

        return kernels.layer_norm(without_gradients(x, "x"), weight, bias, eps=eps, axis=axis)
    operand = unwrap(x)
    scale, shift = _vector(weight, "weight", operand, axis), _vector(bias, "bias", operand, axis)

    def rows(block: Float64) -> Float64:
        centred = _centre(block)
        # Adding -0 leaves every bias-free result as it is, the sign of a zero included.
        return _over_root_mean_square(centred, eps) * scale + (shift if bias is not None else -0.0)

    return operand.like(map_rows(rows, operand, axis), own_dtype=True)


def rms_norm(
    x: Any,
    weight: Any = None,
    *,
    eps: float = 1e-6,
    form: Literal["exact", "hf", "gemma"] = "exact",
    axis: int = -1,
) -> Any:
    """:math:`y = x\\,/\\sqrt{\\mathrm{mean}(x^2) + \\epsilon} \\cdot w` over one axis.

    Parameters
    ----------
    x : numpy array or torch tensor, shape (..., n, ...)
    weight : array or tensor of shape (n,), optional
    eps : float
        Inside the root.
    form : {"exact", "hf", "gemma"}
        "exact" rounds once, at the end. "hf" rounds twice, as transformers' LlamaRMSNorm does:
        :math:`RN(w \\cdot RN(x / rms))`. "gemma" rounds once and takes the weight as what is added to one:
        :math:`RN((1 + w)\\,x / rms)`, never rounding 1 + w to the format of w.
    axis : int

    Returns
    -------
    numpy array or torch tensor
        The shape, dtype and device of x.

    Notes
    -----
    Computed in float64; relative error before a rounding at most about :math:`(6 + \\log_2 n)\\,2^{-53}`,
    so each rounding is to nearest except within that distance of a tie. Scaled by a power of two: neither
    1e20 in bfloat16 nor 1e-200 in float64 overflows or vanishes in the square. transformers takes the mean
    and the inverse root in float32, in an order of its own on each device: its 16-bit bits are those of "hf"
    (Llama) or "gemma", except where the exact :math:`x / rms` is within the error of that float32
    arithmetic of a tie: fewer than one element in 5,000 of float16 and in 15,000 of bfloat16. Cost O(n). With
    eps = 0 a row of zeros is NaN.

    Raises
    ------
    BadInput
        A weight that is not of shape (n,), a negative eps, an unknown form.

    References
    ----------
    Zhang, Sennrich, Root Mean Square Layer Normalization (2019).

    Examples
    --------
    >>> rms_norm([3e200, 4e200], eps=0.0)
    array([0.84852814, 1.13137085])
    """
    _require_eps(eps)
    if form not in ("exact", "hf", "gemma"):
        raise BadInput(f"no form is named {form!r}: use 'exact', 'hf' or 'gemma'")
    offset = 1.0 if form == "gemma" else 0.0
    if has_kernels(x):
        from stable_ops.ops.triton import norms as kernels

        x = without_gradients(x, "x")
        return kernels.rms_norm(x, weight, eps=eps, form=form, axis=axis, offset=offset)
    operand = unwrap(x)
    scale = _vector(weight, "weight", operand, axis)
    if weight is not None:
        scale = offset + scale

    def rows(block: Float64) -> Float64:
        normed = _over_root_mean_square(block, eps)
        if form == "hf":
            normed = operand.round(normed).astype(np.float64)
        return normed * scale

    return operand.like(map_rows(rows, operand, axis), own_dtype=True)


def _centre(x: Float64) -> Float64:
    """x minus its row mean; the second pass takes out the rounding error of the first mean."""
    if x.shape[-1] == 0:
        return x
    near = x - x.mean(axis=-1, keepdims=True)
    centred: Float64 = near - near.mean(axis=-1, keepdims=True)
    return centred


def _over_root_mean_square(x: Float64, eps: float) -> Float64:
    if x.shape[-1] == 0:
        return x
    # Both x and eps are scaled, so that whichever is the larger squares to something near one.
    largest = np.maximum(np.abs(x).max(axis=-1, keepdims=True), np.sqrt(eps))
    _, exponent = np.frexp(np.where(np.isfinite(largest), largest, 1.0))
    scaled = np.ldexp(x, -exponent)
    mean_square = np.square(scaled).mean(axis=-1, keepdims=True)
    ratio: Float64 = scaled / np.sqrt(mean_square + np.ldexp(eps, -2 * exponent))
    return ratio


def _vector(values: Any, name: str, x: Operand, axis: int) -> Float64:
    if values is None:
        return np.ones(1)
    vector = unwrap(values, name).values.astype(np.float64)
    length = x.values.shape[axis] if -x.values.ndim <= axis < x.values.ndim else None
    if length is not None and vector.shape != (length,):
        raise BadInput(f"{name} has shape {vector.shape}: pass one of shape ({length},), the normalised axis")
    return vector


def _require_eps(eps: float) -> None:
    if not 0 <= eps < np.inf:
        raise BadInput(f"eps must be zero or a positive number, got {eps}")
