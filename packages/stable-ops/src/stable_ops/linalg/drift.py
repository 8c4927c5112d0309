"""How far eigenvalues and singular values move when a matrix changes a little."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput
from stable_ops.arrays import Float64, unwrap


@dataclass(frozen=True)
class Drift:
    """Values of a matrix, and what a change of the matrix does to them to first order.

    Attributes
    ----------
    values : numpy.ndarray, shape (k,)
        Singular values, descending, or eigenvalues (complex) as LAPACK orders them.
    change : numpy.ndarray, shape (k,)
        Predicted change of each.
    limit : numpy.ndarray, shape (k,)
        The most a change of that size could move each: proven for singular values (Weyl), to first order for
        eigenvalues (condition times size).
    remainder : numpy.ndarray, shape (k,)
        How far the true change can be from the predicted: proven for singular values, the size of the
        second-order term for eigenvalues. Infinite where two values are closer than the change can move
        them, so that the prediction says nothing.
    size : float
        :math:`\\|E\\|_2`, the operator norm of the change.
    """

    values: NDArray[Any]
    change: NDArray[Any]
    limit: Float64
    remainder: Float64
    size: float

    def to_dict(self) -> dict[str, Any]:
        """The fields as lists; complex numbers as [real, imaginary]."""
        return {
            "values": _plain(self.values),
            "change": _plain(self.change),
            "limit": self.limit.tolist(),
            "remainder": self.remainder.tolist(),
            "size": self.size,
        }


def singular_value_drift(A: Any, change: Any) -> Drift:
    """The change of each singular value when A becomes A + E, to first order: :math:`u_i^T E v_i`.

    Parameters
    ----------
    A, change : numpy arrays or torch tensors, shape (m, n)

    Returns
    -------
    Drift
        min(m, n) values; in float64.

    Notes
    -----
    Proven: :math:`|\\delta\\sigma_i| \\le \\|E\\|_2` (Weyl), and for a singular value whose
    distance g from the others, from :math:`-\\sigma_i` and, where A is not square, from 0 exceeds
    :math:`2\\|E\\|_2`, :math:`|\\delta\\sigma_i - u_i^T E v_i| \\le \\|E\\|_2^2 / (g - 2\\|E\\|_2)`: the
    Rayleigh quotient of the vectors of A in the symmetric matrix :math:`[0, A + E; (A + E)^T, 0]` by Kato and
    Temple. Both beside LAPACK's own error, a few eps of :math:`\\sigma_1`. For equal singular values only the
    limit holds. Cost two SVDs, :math:`O(mn^2)`.

    Raises
    ------
    BadInput
        Not two matrices of one shape, no entries, NaN or infinite entries.

    References
    ----------
    Stewart, Sun, Matrix Perturbation Theory, section IV.4; Parlett, The Symmetric Eigenvalue Problem, 11.7.

    Examples
    --------
    >>> drift = singular_value_drift([[3.0, 0.0], [0.0, 1.0]], [[0.01, 0.0], [0.0, 0.02]])
    >>> drift.change.round(12).tolist(), drift.limit.round(12).tolist()
    ([0.01, 0.02], [0.02, 0.02])
    """
    A, E = _two(A, change)
    left, values, right = np.linalg.svd(A, full_matrices=False)
    size = float(np.linalg.norm(E, 2))
    first = np.einsum("ij,ij->j", left, E @ right.T)
    gap = _gaps(values)
    gap = np.minimum(gap, 2 * values if A.shape[0] == A.shape[1] else values)
    room = gap - 2 * size
    with np.errstate(divide="ignore"):
        remainder = np.where(room > 0, size**2 / np.where(room > 0, room, 1.0), np.inf)
    return Drift(values, first, np.full(values.shape, size), remainder, size)


def eigenvalue_drift(A: Any, change: Any) -> Drift:
    """The change of each eigenvalue when A becomes A + E, to first order: :math:`y^H E x / y^H x`.

    Parameters
    ----------
    A, change : numpy arrays or torch tensors, shape (n, n), real

    Returns
    -------
    Drift
        n values; in complex128.

    Notes
    -----
    With right vectors X, left vectors :math:`Y^H = X^{-1}` and :math:`W = Y^H E X`, the change is
    :math:`W_{ii} + \\sum_{j \\ne i} W_{ij} W_{ji} / (\\lambda_i - \\lambda_j)` to second order: the first
    term is the prediction, the size of the second its remainder. `limit` is :math:`\\mathrm{cond}(\\lambda_i)
    \\|E\\|_2` (`eigenvalue_condition`). Only first order, unlike for singular values: a non-normal matrix has
    no bound without its pseudospectrum. Infinite limits and remainders where eigenvalues coincide. Cost about
    :math:`25n^3`.

    Raises
    ------
    BadInput
        Not two square matrices of one shape, no entries, NaN or infinite entries.

    References
    ----------
    Wilkinson, The Algebraic Eigenvalue Problem, chapter 2; Kato, Perturbation Theory for Linear Operators,
    section II.2.

    Examples
    --------
    >>> drift = eigenvalue_drift([[1.0, 1000.0], [0.0, 2.0]], [[0.0, 0.0], [1e-9, 0.0]])
    >>> drift.change.round(12).real.tolist(), drift.limit.round(9).tolist()
    ([-1e-06, 1e-06], [1e-06, 1e-06])
    """
    from scipy.linalg import eig

    A, E = _two(A, change)
    if A.shape[0] != A.shape[1]:
        raise BadInput(f"A has shape {A.shape}: pass a square matrix, or use singular_value_drift")
    values, left, right = eig(A, left=True, right=True, check_finite=False)
    products = np.einsum("ij,ij->j", left.conj(), right)
    size = float(np.linalg.norm(E, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        coupled = (left.conj().T @ E @ right) / products[:, None]
        distance = values[:, None] - values[None, :]
        np.fill_diagonal(distance, np.inf)
        second = np.abs(np.sum(coupled * coupled.T / distance, axis=1))
        limit = size / np.abs(products)
    return Drift(
        values,
        np.diagonal(coupled).copy(),
        np.nan_to_num(limit, nan=np.inf, posinf=np.inf),
        np.nan_to_num(second, nan=np.inf, posinf=np.inf),
        size,
    )


def _two(A: Any, change: Any) -> tuple[Float64, Float64]:
    matrix = unwrap(A, "A").values.astype(np.float64)
    moved = unwrap(change, "change").values.astype(np.float64)
    if matrix.ndim != 2 or matrix.shape != moved.shape or not matrix.size:
        raise BadInput(
            f"A has shape {matrix.shape}, change {moved.shape}: pass two matrices of one shape (m, n)"
        )
    if not (np.isfinite(matrix).all() and np.isfinite(moved).all()):
        raise BadInput("A or change holds NaN or infinite entries: remove them first")
    return matrix, moved


def _gaps(values: Float64) -> Float64:
    """Distance of each of descending values to the nearest other."""
    steps = np.concatenate([[np.inf], -np.diff(values), [np.inf]])
    nearest: Float64 = np.minimum(steps[:-1], steps[1:])
    return nearest


def _plain(values: NDArray[Any]) -> list[Any]:
    if np.iscomplexobj(values):
        return [[float(v.real), float(v.imag)] for v in values]
    plain: list[Any] = values.tolist()
    return plain
