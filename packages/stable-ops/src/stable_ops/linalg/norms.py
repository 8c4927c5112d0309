"""Vector and matrix norms that neither overflow nor vanish where the true norm is representable."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from mfi_command import BadInput
from stable_ops.arrays import Float64, unwrap
from stable_ops.blocks import map_rows
from stable_ops.linalg.operator import largest_singular_value


def vector_norm(x: Any, p: float = 2, *, axis: int = -1) -> Any:
    """:math:`\\|x\\|_p = (\\sum_i |x_i|^p)^{1/p}`, and :math:`\\max_i |x_i|` for p = inf.

    Parameters
    ----------
    x : numpy array or torch tensor, shape (..., n, ...)
    p : float
        At least 1, or inf.
    axis : int

    Returns
    -------
    numpy array or torch tensor
        The shape of x without that axis; 0 for n = 0, NaN with a NaN, else inf with an inf.

    Notes
    -----
    Computed in float64 on :math:`x / 2^e`, with :math:`2^e` just above the largest entry, and rounded
    once: relative error before that at most about :math:`(p + 4 + \\log_2 n)\\,2^{-53}`. Without the scaling
    [1e20, 1] in float32 is inf and [1e-30, 1e-30] is 0. It overflows only where the norm itself is beyond
    the format. Cost O(n).

    Raises
    ------
    BadInput
        p below 1 (not a norm), an axis that x has not.

    References
    ----------
    Blue, A portable Fortran program to find the Euclidean norm of a vector (1978).

    Examples
    --------
    >>> import numpy as np
    >>> float(vector_norm(np.array([600, 800], dtype=np.float16)))
    1000.0
    """
    if not p >= 1:
        raise BadInput(f"p must be at least 1 (or inf), got {p}")
    operand = unwrap(x)
    norms = map_rows(lambda rows, _: _norm_rows(rows, p), operand, axis, reduces=True)
    return operand.like(norms, own_dtype=True)


def matrix_norm(A: Any, kind: Literal["fro", "op"] = "fro", *, tolerance: float = 1e-9) -> Any:
    """Frobenius norm :math:`\\sqrt{\\sum a_{ij}^2}` or operator norm :math:`\\sigma_1` of a matrix.

    Parameters
    ----------
    A : numpy array or torch tensor, shape (m, n)
    kind : {"fro", "op"}
        "op" is the largest singular value, by power iteration.
    tolerance : float
        For "op": the iteration stops when :math:`\\|A^T A v - \\theta v\\| \\le tol\\,\\theta`.

    Returns
    -------
    scalar of the dtype of A (a 0-d tensor for a tensor)

    Notes
    -----
    The power iteration runs in float64 on a block of 8 vectors with a Rayleigh-Ritz step, so up
    to 8 equal largest singular values do not slow it. The residual puts some :math:`\\sigma^2` within the
    tolerance of :math:`\\theta` (A^T A is symmetric), and :math:`\\sqrt\\theta \\le \\sigma_1` always; that
    it is the largest rests on the random start, which misses it with probability zero (`operator_norm` proves
    it). Where 500 steps do not reach the tolerance, LAPACK's singular values answer instead. Cost O(mn) a
    step.

    Raises
    ------
    BadInput
        Not a matrix, NaN or infinite entries for "op", an unknown kind.

    References
    ----------
    Golub, Van Loan, Matrix Computations, section 8.2.4 (block power with Ritz acceleration).

    Examples
    --------
    >>> A = [[3.0, 0.0], [0.0, 4.0]]
    >>> round(float(matrix_norm(A)), 12), round(float(matrix_norm(A, "op")), 12)
    (5.0, 4.0)
    """
    operand = unwrap(A, "A")
    if operand.values.ndim != 2:
        raise BadInput(f"A has shape {operand.values.shape}: pass one matrix (m, n)")
    matrix = operand.values.astype(np.float64)
    if kind == "fro":
        return operand.restore(_norm_rows(matrix.reshape(1, -1), 2)[0])
    if kind != "op":
        raise BadInput(f"no kind of norm is named {kind!r}: use 'fro' or 'op'")
    if not np.isfinite(matrix).all():
        raise BadInput("A holds NaN or infinite entries: its operator norm is not defined")
    return operand.restore(np.asarray(largest_singular_value(matrix, tolerance, certify=False).value))


def _norm_rows(x: Float64, p: float) -> Float64:
    if x.shape[-1] == 0:
        return np.zeros(x.shape[0])
    magnitude = np.abs(x)
    largest = magnitude.max(axis=-1)
    if p == math.inf:
        return np.asarray(largest)
    _, exponent = np.frexp(np.where(np.isfinite(largest), largest, 0.0))
    scaled = np.ldexp(magnitude, -exponent[:, None])
    total = np.sum(scaled if p == 1 else np.square(scaled) if p == 2 else scaled**p, axis=-1)
    root = total if p == 1 else np.sqrt(total) if p == 2 else total ** (1 / p)
    norms: Float64 = np.ldexp(root, exponent)
    return norms
