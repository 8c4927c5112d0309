"""softmax, log_softmax and logsumexp, none of which overflows or loses its tail."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from stable_ops.arrays import Float64, has_kernels, unwrap, without_gradients
from stable_ops.blocks import Loops, Workspace, map_rows
from stable_ops.compiled import mapping
from stable_ops.fp.formats import FP64
from stable_ops.ops import tensors

_Rows = Callable[..., Float64]
# Up to here exponentials in float64 need no maximum: what leaves its normal numbers is a share below them.
_NEAR = 32.0


def softmax(x: Any, *, axis: int = -1) -> Any:
    """Probabilities :math:`y_i = e^{x_i - m} / \\sum_j e^{x_j - m}`, :math:`m = \\max_j x_j`.

    Parameters
    ----------
    x : numpy array or torch tensor, shape (..., n, ...)
        float16, bfloat16, float32 or float64 (integers and lists become float64).
    axis : int

    Returns
    -------
    numpy array or torch tensor
        The shape, dtype and device of x. A row with NaN, with +inf, or all -inf is NaN (undefined); -inf
        among finite values has probability 0.

    Notes
    -----
    Computed in float64 from the stored values and rounded once. Before that rounding the relative error
    is at most about :math:`(6 + |x_i - m| + \\log_2 n)\\,2^{-53}` (with torch's exponential 38 in
    place of the 6), hence, of 16-bit and float32 inputs, within 0.5 ulp plus :math:`2^{-21}` (float32),
    :math:`2^{-34}` (16-bit): the correctly rounded value except where the exact one lies that close to a tie.
    Each row is computed alone: the bits do not depend on the batch.
    Cost O(n), on all cores of a CPU (at most OMP_NUM_THREADS); extra memory at most 8 MiB a core, or eight
    float64 rows where those are longer.

    On a CUDA device 16-bit results are within 0.501 ulp (tier T2), by a bound of :math:`2^{-22}` before the
    rounding; float32 ones are computed as above.

    Raises
    ------
    BadInput
        An axis that x has not, a dtype that is not a float.

    References
    ----------
    Blanchard, Higham, Higham, Accurately computing the log-sum-exp and softmax functions (2021).

    Examples
    --------
    >>> softmax([1000.0, 1001.0, 1002.0]).round(4)
    array([0.09  , 0.2447, 0.6652])
    """
    if has_kernels(x):
        from stable_ops.ops.triton import softmax as kernels

        return kernels.softmax(without_gradients(x, "x"), axis=axis)
    return _map("softmax", _softmax_rows, x, axis)


def log_softmax(x: Any, *, axis: int = -1) -> Any:
    """Log-probabilities :math:`x_i - m - \\log\\sum_j e^{x_j - m}`, accurate down to the tail.

    Parameters
    ----------
    x : numpy array or torch tensor, shape (..., n, ...)
        float16, bfloat16, float32 or float64 (integers and lists become float64).
    axis : int

    Returns
    -------
    numpy array or torch tensor
        Natural logarithms, in the shape, dtype and device of x; -inf where `softmax` is 0 for an x of -inf,
        NaN in the rows where it is NaN.

    Notes
    -----
    The sum leaves its largest term out: with :math:`s = \\sum_{j \\ne \\arg\\max} e^{x_j - m}`, the value is
    :math:`(x_i - m) - \\mathrm{log1p}(s)`. The usual :math:`\\log(1 + s)` answers 0 as soon as s is below
    half an ulp of 1, where the truth is -s. Both terms are negative and cannot cancel: the relative error
    before the rounding is at most about :math:`(6 + \\log_2 n)\\,2^{-53}`, for float64 inputs more by
    :math:`2^{-53}` times the mean of :math:`m - x_j` over the terms of s. The tier on a CUDA device is that
    of `softmax`. Cost O(n).

    Raises
    ------
    BadInput
        An axis that x has not, a dtype that is not a float.

    References
    ----------
    Blanchard, Higham, Higham, Accurately computing the log-sum-exp and softmax functions (2021).

    Examples
    --------
    >>> log_softmax([0.0, -50.0])[0]  # log(softmax(x)) answers 0
    np.float64(-1.9287498479639178e-22)
    """
    if has_kernels(x):
        from stable_ops.ops.triton import softmax as kernels

        return kernels.log_softmax(without_gradients(x, "x"), axis=axis)
    return _map("log_softmax", _log_softmax_rows, x, axis)


def logsumexp(x: Any, *, axis: int = -1) -> Any:
    """:math:`\\log\\sum_j e^{x_j} = m + \\mathrm{log1p}(s)`, with the m and s of `log_softmax`.

    Parameters
    ----------
    x : numpy array or torch tensor, shape (..., n, ...)
    axis : int

    Returns
    -------
    numpy array or torch tensor
        The shape of x without that axis. -inf for an empty row and for one of -inf alone; +inf if the row
        holds +inf; NaN if it holds NaN.

    Notes
    -----
    Computed in float64 and rounded once; before that the error is at most about
    :math:`(6 + \\log_2 n)\\,2^{-53}\\max(|m|, \\log n)`. It is absolute: where m nearly cancels the
    logarithm (the exact result within :math:`2^{-20}` of zero) a float32 result can lose ulps, though not
    in normwise error. On a CUDA device 16-bit results are within 0.501 ulp (tier T2). Cost O(n).

    Raises
    ------
    BadInput
        An axis that x has not, a dtype that is not a float.

    References
    ----------
    Blanchard, Higham, Higham, Accurately computing the log-sum-exp and softmax functions (2021).

    Examples
    --------
    >>> logsumexp([1000.0, 1000.0])
    np.float64(1000.6931471805599)
    """
    if has_kernels(x):
        from stable_ops.ops.triton import softmax as kernels

        return kernels.logsumexp(without_gradients(x, "x"), axis=axis)
    return _map("logsumexp", _logsumexp_rows, x, axis, reduces=True)


def _map(name: str, rows: _Rows, x: Any, axis: int, *, reduces: bool = False) -> Any:
    if mapping.fits(x, axis):
        plain = functools.partial(rows, loops=tensors.array_loops(wide=False))
        return mapping.map_rows(name, plain, x, axis, reduces=reduces)
    if tensors.fits(x):
        detached, loops = without_gradients(x, "x"), tensors.loops()
        return tensors.map_rows(functools.partial(rows, loops=loops), detached, axis, reduces=reduces)
    operand = unwrap(x)
    loops = tensors.array_loops(wide=operand.format == FP64)
    y = map_rows(functools.partial(rows, loops=loops), operand, axis, reduces=reduces)
    return operand.like(y, own_dtype=True)


def _softmax_rows(x: Float64, spare: Workspace, loops: Loops) -> Float64:
    peak = _row_max(x)
    far = ~((peak >= 0.0) & (peak < _NEAR))[:, 0]
    if far.any():
        x[far] -= peak[far]
    loops.exp(x, x)
    x *= 1.0 / x.sum(axis=-1, keepdims=True)
    return x


def _log_softmax_rows(x: Float64, spare: Workspace, loops: Loops) -> Float64:
    x -= _row_max(x)
    weights = spare.array("weights", x.shape)
    loops.exp(x, weights)
    logarithm = _log_sum(weights)[:, None]
    near = logarithm[:, 0] < math.log(2)
    # log 2 is seen beside everything below 2^50.
    if loops.wide or not (near.any() or x.min(initial=0.0) < -(2.0**50)):
        x -= logarithm
        return x
    shifted, weights[...] = weights, x
    x -= logarithm
    return _off_ties(x, shifted)


def _off_ties(result: Float64, shifted: Float64) -> Float64:
    """Round to odd where the logarithm vanishes beside x - m.

    x - m is often exactly between two numbers of a narrower format; the truth lies below it.
    """
    lost = (result == shifted) & (shifted < 0) & (shifted.view(np.int64) % 2 == 0)
    result[lost] = np.nextafter(result[lost], -np.inf)
    return result


def _logsumexp_rows(x: Float64, spare: Workspace, loops: Loops) -> Float64:
    if x.shape[-1] == 0:
        return np.full(x.shape[0], -np.inf)
    weights = spare.array("weights", x.shape)
    loops.exp(x, weights)
    total = np.log(weights.sum(axis=-1))
    # Near 0 the logarithm loses digits. NaN counts as outside.
    rows = np.flatnonzero(~((np.abs(total) > 2.0**-6) & (np.abs(total) < _NEAR)))
    if rows.size:
        total[rows] = _logsumexp_rows_shifted(x[rows], loops)
    return np.asarray(total)


def _logsumexp_rows_shifted(x: Float64, loops: Loops) -> Float64:
    peak = _row_max(x)
    x -= peak
    loops.exp(x, x)
    total = peak[:, 0] + _log_sum(x)
    # inf - inf inside made these rows NaN, though their sum is defined.
    return np.where(np.isinf(peak[:, 0]), peak[:, 0], total)


def _row_max(x: Float64) -> Float64:
    if x.shape[-1] == 0:
        return np.zeros((x.shape[0], 1))
    peak: Float64 = x.max(axis=-1, keepdims=True)
    return peak


def _log_sum(weights: Float64) -> Float64:
    """Logarithm of each row's sum, whose largest term is 1; below log 2 as log1p of the rest."""
    logarithm = np.log(weights.sum(axis=-1))
    rows = np.flatnonzero(logarithm < math.log(2))
    if rows.size and weights.shape[-1]:
        rest = weights[rows]
        rest[np.arange(rows.size), rest.argmax(axis=-1)] = 0.0
        logarithm[rows] = np.log1p(rest.sum(axis=-1))
    return np.asarray(logarithm)
