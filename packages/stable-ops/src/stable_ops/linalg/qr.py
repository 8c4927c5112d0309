"""Three ways to A = QR, which lose orthogonality differently, and least squares on the one that does not."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput
from stable_ops.arrays import Operand, unwrap

Matrix = NDArray[Any]


def gram_schmidt(A: Any, *, variant: Literal["classical", "modified"] = "modified") -> tuple[Any, Any]:
    """A = QR by Gram-Schmidt: each column minus its parts along the columns before it.

    Parameters
    ----------
    A : numpy array or torch tensor, shape (m, n), m >= n
    variant : {"classical", "modified"}
        "classical" subtracts all parts of the original column at once; "modified" takes each part of what
        is left after the one before, equal in exact arithmetic.

    Returns
    -------
    Q : shape (m, n)
        Columns orthonormal as far as the arithmetic allows; a zero column where A's is dependent.
    R : shape (n, n), upper triangular

    Notes
    -----
    Arithmetic in float32 for float32, in float64 for the rest (rounded once at the end). Loss of
    orthogonality :math:`\\|I - Q^T Q\\|`: classical :math:`O(u \\kappa^2)`, modified :math:`O(u \\kappa)`
    while :math:`u\\kappa^2 \\ll 1` and :math:`u\\kappa \\ll 1`, with :math:`\\kappa` the condition number;
    Householder O(u). Cost :math:`2mn^2` operations.

    Raises
    ------
    BadInput
        A wide matrix, NaN or infinite entries, an unknown variant.

    References
    ----------
    Giraud, Langou, Rozloznik, The loss of orthogonality in the Gram-Schmidt process (2005); Bjorck (1967).

    Examples
    --------
    >>> Q, R = gram_schmidt([[3.0, 1.0], [4.0, 2.0]])
    >>> Q @ R
    array([[3., 1.],
           [4., 2.]])
    """
    operand, A = _read(A)
    m, n = A.shape
    if m < n:
        raise BadInput(f"A has shape {A.shape}: Gram-Schmidt needs at least as many rows as columns")
    if variant not in ("classical", "modified"):
        raise BadInput(f"no variant is named {variant!r}: use 'classical' or 'modified'")
    Q, R = np.zeros_like(A), np.zeros((n, n), dtype=A.dtype)
    for j in range(n):
        column = A[:, j].copy()
        if variant == "classical":
            R[:j, j] = Q[:, :j].T @ column
            column -= Q[:, :j] @ R[:j, j]
        else:
            for i in range(j):
                R[i, j] = Q[:, i] @ column
                column -= R[i, j] * Q[:, i]
        R[j, j] = _length(column)
        if R[j, j] > 0:
            Q[:, j] = column / R[j, j]
    return _write(operand, Q), _write(operand, R)


def householder_qr(A: Any, *, mode: Literal["reduced", "complete"] = "reduced") -> tuple[Any, Any]:
    """A = QR by Householder reflections.

    Parameters
    ----------
    A : numpy array or torch tensor, shape (m, n)
    mode : {"reduced", "complete"}
        Q is (m, k) with k = min(m, n), or (m, m).

    Returns
    -------
    Q : shape (m, k) or (m, m)
    R : shape (k, n) or (m, n), upper triangular; its diagonal may be negative

    Notes
    -----
    Column by column, :math:`H = I - \\tau v v^T` maps the column onto its first entry; the sign of v is
    the one that adds, not cancels. Arithmetic as `gram_schmidt`. :math:`\\|A - QR\\| = O(mn\\,u)\\|A\\|` and
    :math:`\\|I - Q^T Q\\| = O(mn\\,u)` whatever the condition. Cost :math:`2mn^2 - 2n^3/3`, as much again for
    Q, in level-2 operations: LAPACK is faster for large matrices.

    Raises
    ------
    BadInput
        Not a matrix, NaN or infinite entries.

    References
    ----------
    Higham, Accuracy and Stability of Numerical Algorithms, sections 19.1 to 19.3.

    Examples
    --------
    >>> Q, R = householder_qr([[3.0, 1.0], [4.0, 2.0]])
    >>> R.round(12)
    array([[-5. , -2.2],
           [ 0. ,  0.4]])
    """
    operand, A = _read(A)
    if mode not in ("reduced", "complete"):
        raise BadInput(f"no mode is named {mode!r}: use 'reduced' or 'complete'")
    m, n = A.shape
    reflectors, R = _triangularise(A)
    k = m if mode == "complete" else min(m, n)
    Q = np.eye(m, k, dtype=A.dtype)
    for j in reversed(range(len(reflectors))):
        _reflect(Q[j:, j:], *reflectors[j])
    return _write(operand, Q), _write(operand, np.triu(R)[:k])


def lstsq_qr(A: Any, b: Any) -> Any:
    """The x of least norm among those that minimise :math:`\\|Ax - b\\|_2`, by Householder QR.

    Parameters
    ----------
    A : numpy array or torch tensor, shape (m, n), any m and n
    b : array or tensor of the same dtype, shape (m,) or (m, k)

    Returns
    -------
    x : shape (n,) or (n, k)

    Notes
    -----
    QR with column pivoting; the rank r counts the pivots above :math:`\\max(m, n)\\,\\epsilon\\,|r_{11}|`.
    Below full column rank a second QR, of :math:`[R_{11} R_{12}]^T`, gives the solution of least norm.
    Arithmetic as `gram_schmidt`. Backward stable: x solves exactly a problem with A and b changed by
    O(mnu); the forward error is up to :math:`\\kappa + \\kappa^2 \\rho` times that for a relative
    residual :math:`\\rho`, so judge x by its residual, not by distance to a known answer. Cost
    :math:`2mn^2 - 2n^3/3`.

    Raises
    ------
    BadInput
        Shapes that do not fit, NaN or infinite entries.

    References
    ----------
    Golub, Van Loan, Matrix Computations, section 5.5 (rank-deficient least squares); Higham, section 20.2.

    Examples
    --------
    >>> lstsq_qr([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]], [1.0, 3.0, 5.0]).round(12)
    array([1., 2.])
    """
    operand, A = _read(A)
    right = unwrap(b, "b").values.astype(A.dtype)
    if right.ndim not in (1, 2) or right.shape[0] != A.shape[0]:
        raise BadInput(f"A has shape {A.shape}, b {right.shape}: b needs {A.shape[0]} rows")
    if not np.isfinite(right).all():
        raise BadInput("b holds NaN or infinite entries: remove them first")
    columns = right.reshape(A.shape[0], right.shape[1] if right.ndim == 2 else 1).copy()
    order, reflectors, R = _pivoted(A)
    for j, reflector in enumerate(reflectors):
        _reflect(columns[j:], *reflector)
    diagonal = np.abs(np.diag(R))
    threshold = max(A.shape) * np.finfo(A.dtype).eps * (diagonal[0] if diagonal.size else 0)
    rank = int(np.sum(diagonal > threshold))
    x = np.zeros((A.shape[1], columns.shape[1]), dtype=A.dtype)
    x[order] = _least_norm(np.triu(R)[:rank], columns[:rank])
    return _write(operand, x.reshape(A.shape[1], *right.shape[1:]))


def _length(column: Matrix) -> Any:
    """Euclidean norm in the dtype of the column, scaled by a power of two so that no square overflows."""
    _, exponent = np.frexp(np.abs(column).max())
    scaled = np.ldexp(column, -exponent)
    return np.ldexp(np.sqrt(scaled @ scaled), exponent)


def _least_norm(R: Matrix, b: Matrix) -> Matrix:
    """Solve the upper trapezoidal R x = b, of full row rank, with the x of least norm."""
    from scipy.linalg import solve_triangular

    rank, n = R.shape
    if rank == 0:
        return np.zeros((n, b.shape[1]), dtype=R.dtype)
    if rank == n:
        return np.asarray(solve_triangular(R, b))
    reflectors, L = _triangularise(R.T.copy())
    x = np.zeros((n, b.shape[1]), dtype=R.dtype)
    x[:rank] = solve_triangular(np.triu(L)[:rank], b, trans="T")
    for j in reversed(range(len(reflectors))):
        _reflect(x[j:], *reflectors[j])
    return x


def _triangularise(A: Matrix) -> tuple[list[tuple[Matrix, Any]], Matrix]:
    R, reflectors = A.copy(), []
    for j in range(min(R.shape)):
        reflectors.append(_reflector(R[j:, j]))
        _reflect(R[j:, j:], *reflectors[j])
    return reflectors, R


def _pivoted(A: Matrix) -> tuple[NDArray[np.intp], list[tuple[Matrix, Any]], Matrix]:
    """QR with the longest remaining column first; lengths are recomputed, not downdated, so never stale."""
    R, order, reflectors = A.copy(), np.arange(A.shape[1]), []
    for j in range(min(R.shape)):
        scale = np.abs(R[j:, j:]).max() or 1
        longest = j + int(np.argmax(np.square(R[j:, j:] / scale).sum(axis=0)))
        R[:, [j, longest]] = R[:, [longest, j]]
        order[[j, longest]] = order[[longest, j]]
        reflectors.append(_reflector(R[j:, j]))
        _reflect(R[j:, j:], *reflectors[j])
    return order, reflectors, R


def _reflector(column: Matrix) -> tuple[Matrix, Any]:
    """v with v[0] = 1 and tau, such that (I - tau v v^T) column is zero below its first entry."""
    v = column.copy()
    largest = np.abs(v).max()
    if largest == 0 or not v[1:].any():
        return np.zeros_like(v), v.dtype.type(0)
    v /= largest  # so that no square overflows or vanishes
    alpha = -np.copysign(np.sqrt(v @ v), v[0])
    head = v[0] - alpha
    tau = -head / alpha
    v /= head
    v[0] = 1
    return v, tau


def _reflect(block: Matrix, v: Matrix, tau: Any) -> None:
    if tau:
        block -= tau * v[:, None] * (v @ block)


def _read(A: Any) -> tuple[Operand, Matrix]:
    operand = unwrap(A, "A")
    if operand.values.ndim != 2:
        raise BadInput(f"A has shape {operand.values.shape}: pass one matrix (m, n)")
    if not np.isfinite(operand.values).all():
        raise BadInput("A holds NaN or infinite entries: remove them first")
    return operand, operand.values.astype(np.float32 if operand.format.name == "fp32" else np.float64)


def _write(operand: Operand, array: Matrix) -> Any:
    return operand.restore(array.astype(np.float64))
