"""layer_norm and rms_norm: the mean in two parts, the root without overflow, one rounding."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput
from stable_ops.arrays import Float64, has_kernels, unwrap, without_gradients
from stable_ops.blocks import Workspace, map_rows
from stable_ops.compiled import mapping
from stable_ops.fp.formats import FP64
from stable_ops.ops import tensors

# A dot product this long is good to a few ulp and has one order, however long the row is.
_PIECE = 256


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
    The mean is a rounded one plus the mean of what remains, so :math:`x - \\mu` is off by a few
    :math:`2^{-53}(|x - \\mu| + \\sigma)` even where the mean is 10,000 standard deviations, and a row of
    equal values gives exactly the bias. The result, computed in float64, is rounded once: before that the
    error is at most about :math:`(8 + \\log_2 n)\\,2^{-53}(|y - b| + |w| + |b|)`. A float32 or 16-bit result
    is the correctly rounded one except where the exact value is that close to a tie. Forming the variance as
    :math:`E[x^2] - \\mu^2` in float32 instead loses :math:`2\\log_2(\\mu/\\sigma)` bits. With eps = 0 a row
    of equal values is 0/0, NaN. For float64 rows with entries that differ by more than :math:`2^{50}` the
    small ones carry the error of the large. Cost O(n).

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
    scale, shift = _vector(weight, "weight", x, axis), _vector(bias, "bias", x, axis)

    def rows(block: Float64, _: Workspace, *, wide: bool) -> Float64:
        unit = _below_overflow(block) if wide else 0
        _centre(block)
        _over_root_mean_square(block, eps, wide, unit)
        if scale is not None:
            block *= scale
        if shift is not None:
            block += shift
        return block

    return _map("layer_norm", rows, x, axis, (scale, 1.0), (shift, -0.0), more=(float(eps),))


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
    scale = _vector(weight, "weight", x, axis)
    if scale is not None:
        scale = offset + scale

    round_first = partial(tensors.round_like, like=x) if tensors.fits(x) else unwrap(x).round

    def rows(block: Float64, _: Workspace, *, wide: bool) -> Float64:
        beside, ratios = _over_root_mean_square(block, eps, wide)
        if form == "hf":
            block[beside] = _to_odd(ratios)
            block[...] = round_first(block)
        if scale is not None:
            block *= scale
        if form != "hf" and beside.size:
            block[beside] = _to_odd(ratios if scale is None else ratios * scale)
        return block

    return _map("rms_norm", rows, x, axis, (scale, 1.0), more=(float(eps), form == "hf"))


def _map(
    name: str,
    rows: Callable[..., Float64],
    x: Any,
    axis: int,
    *vectors: tuple[Float64 | None, float],
    more: tuple[Any, ...],
) -> Any:
    """With vectors and what stands for each where it is missing; -0 is what adds to nothing."""
    ordinary = all(vector is None or np.isfinite(vector).all() for vector, _ in vectors)
    if mapping.fits(x, axis) and ordinary:
        filled = (mapping.vector(vector, x.shape[axis], missing) for vector, missing in vectors)
        return mapping.map_rows(name, partial(rows, wide=False), x, axis, *filled, *more)
    if tensors.fits(x):
        return tensors.map_rows(partial(rows, wide=False), without_gradients(x, "x"), axis)
    operand = unwrap(x)
    y = map_rows(partial(rows, wide=operand.format == FP64), operand, axis)
    return operand.like(y, own_dtype=True)


def _centre(x: Float64) -> None:
    """Take its mean out of each row; the second pass takes out the rounding error of the first mean."""
    if x.shape[-1]:
        x -= x.mean(axis=-1, keepdims=True)
        x -= x.mean(axis=-1, keepdims=True)


def _below_overflow(x: Float64) -> Any:
    """Scale down rows whose sum could overflow; answers the powers of two that were taken out, `(m, 1)`."""
    largest = np.abs(x).max(axis=-1, keepdims=True, initial=0.0)
    unit = np.where((largest > 2.0**960) & np.isfinite(largest), 64, 0)
    if unit.any():
        x *= np.ldexp(1.0, -unit)
    return unit


def _over_root_mean_square(
    x: Float64, eps: float, wide: bool, unit: Any = 0
) -> tuple[NDArray[np.intp], NDArray[np.longdouble]]:
    """x 2^unit over the root of its mean square plus eps, in place.

    Answers which rows of a narrower format vanish beside eps, and their ratios in longer arithmetic: the root
    of 1e-6 is so near to 1e-3 that their results are often closer to a tie than float64 can tell.
    """
    none = np.empty(0, dtype=np.intp), np.empty((0, x.shape[-1]), dtype=np.longdouble)
    if x.shape[-1] == 0:
        return none
    if wide:
        eps = _scale_to_one(x, eps, unit)
    # Squares of narrower formats neither overflow nor vanish in float64.
    mean_square = _sum_of_squares(x) / x.shape[-1]
    beside, ratios = none
    if not wide and (small := mean_square[:, 0] < eps * 2.0**-40).any():
        beside = np.flatnonzero(small)
        ratios = x[beside] / np.sqrt(mean_square[beside].astype(np.longdouble) + eps)
    x /= np.sqrt(mean_square + eps)
    if not wide and eps > 0 and (faint := mean_square[:, 0] * 2.0**-40 > eps).any():
        # An eps that the sum has lost still makes the quotient smaller, which decides where that is a tie.
        x[faint] *= 1.0 - 2.0**-53
    return beside, ratios


def _to_odd(y: NDArray[np.longdouble]) -> Float64:
    """To float64; what is inexact to the neighbour with an odd last bit, which lies on no narrower tie."""
    near = y.astype(np.float64)
    even = (near.view(np.int64) & 1) == 0
    return np.where((near != y) & even, np.nextafter(near, np.where(y > near, np.inf, -np.inf)), near)


def _sum_of_squares(x: Float64) -> Float64:
    """Of each row, `(m, 1)`: pieces of a fixed length, each by one dot product."""
    whole = x.shape[-1] - x.shape[-1] % _PIECE
    pieces = x[:, :whole].reshape(x.shape[0], -1, _PIECE)
    total = np.vecdot(pieces, pieces).sum(axis=-1) + np.square(x[:, whole:]).sum(axis=-1)
    return np.asarray(total)[:, None]


def _scale_to_one(x: Float64, eps: float, unit: Any) -> Any:
    """Scale rows by powers of two so that the larger of x and the root of eps squares to about one."""
    largest = np.maximum(np.abs(x).max(axis=-1, keepdims=True), np.ldexp(np.sqrt(eps), -unit))
    _, exponent = np.frexp(np.where(np.isfinite(largest), largest, 1.0))
    # One factor alone would overflow where the row is subnormal.
    half = exponent // 2
    x *= np.ldexp(1.0, -half)
    x *= np.ldexp(1.0, half - exponent)
    return np.ldexp(eps, -2 * (exponent + unit))


def _vector(values: Any, name: str, x: Any, axis: int) -> Float64 | None:
    if values is None:
        return None
    vector = np.ascontiguousarray(unwrap(values, name).values, dtype=np.float64)
    shape = np.shape(x)
    length = shape[axis] if -len(shape) <= axis < len(shape) else None
    if length is not None and vector.shape != (length,):
        raise BadInput(f"{name} has shape {vector.shape}: pass one of shape ({length},), the normalised axis")
    return vector


def _require_eps(eps: float) -> None:
    if not 0 <= eps < np.inf:
        raise BadInput(f"eps must be zero or a positive number, got {eps}")
