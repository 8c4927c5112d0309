"""Power, inverse and Rayleigh-quotient iteration, and how sensitive an eigenvalue is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput
from stable_ops.arrays import Float64, unwrap

Vector = NDArray[Any]


@dataclass(frozen=True)
class EigenResult:
    """An eigenpair and how it was found.

    Attributes
    ----------
    value : float or complex
    vector : numpy.ndarray, shape (n,)
        Unit length, float64 or complex128.
    iterations : int
    converged : bool
        Whether :math:`\\|Av - \\lambda v\\| \\le tol\\,\\|A\\|_F` was reached by the iteration itself.
    residual : float
        :math:`\\|Av - \\lambda v\\|` of what is returned.
    equal_moduli : tuple of two numbers, or None
        Power iteration only: two eigenvalues of (numerically) the same, largest modulus.
    """

    value: float | complex
    vector: Vector
    iterations: int
    converged: bool
    residual: float
    equal_moduli: tuple[float | complex, float | complex] | None = None

    @property
    def status(self) -> Literal["converged", "equal moduli", "too few iterations"]:
        """How it ended; "equal moduli": two eigenvalues that differ share the largest modulus."""
        if self.converged:
            return "converged"
        return "too few iterations" if self.equal_moduli is None else "equal moduli"

    @property
    def statistics(self) -> dict[str, float]:
        """Iterations and residual."""
        return {"iterations": self.iterations, "residual": self.residual}

    def to_dict(self) -> dict[str, Any]:
        """The fields but the vector, and the status; complex numbers as [real, imaginary]."""
        pair = None if self.equal_moduli is None else [_plain(v) for v in self.equal_moduli]
        return {
            "value": _plain(self.value),
            "status": self.status,
            "iterations": self.iterations,
            "converged": self.converged,
            "residual": self.residual,
            "equal_moduli": pair,
        }


def power_iteration(
    A: Any, *, tolerance: float = 1e-10, max_iterations: int = 10_000, seed: int = 0
) -> EigenResult:
    """The eigenvalue of largest modulus, by :math:`v \\leftarrow Av/\\|Av\\|`.

    Parameters
    ----------
    A : numpy array or torch tensor, shape (n, n), real
    tolerance : float
        Of the residual, relative to :math:`\\|A\\|_F`.
    max_iterations : int
    seed : int
        Of the random start.

    Returns
    -------
    EigenResult
        In float64. If two eigenvalues share the largest modulus they are in `equal_moduli`. Equal ones
        (2, 2) leave the iteration convergent, its vector being one of many. Different ones (2 and -2, or
        a complex pair) do not: then `converged` is False and value and vector are those of one of the two.

    Notes
    -----
    A second vector, kept orthogonal to the first, is iterated beside it; it does not touch the first. The
    two span the space that holds such a pair, and the eigenvalues of A on it show one: moduli within
    1e-6 of each other, both with a residual below the tolerance. Converges as
    :math:`|\\lambda_2/\\lambda_1|^k`, with :math:`\\lambda_2` closer than 1e-6 indistinguishable from a
    pair. For a non-normal A the error of the value can exceed the residual by `eigenvalue_condition`. Cost
    :math:`4n^2` a step.

    Raises
    ------
    BadInput
        Not a square matrix, NaN or infinite entries, a tolerance that is not positive.

    References
    ----------
    Golub, Van Loan, Matrix Computations, sections 7.3.1 and 7.3.2.

    Examples
    --------
    >>> result = power_iteration([[2.0, 0.0], [0.0, -2.0]])
    >>> result.converged, [round(v, 9) for v in result.equal_moduli]
    (False, [2.0, -2.0])
    """
    A = _square(A)
    _require_positive(tolerance, max_iterations)
    limit = _limit(A, tolerance)
    V, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((A.shape[0], min(2, A.shape[0]))))
    for k in range(1, max_iterations + 1):
        W = A @ V
        first = V[:, 0]
        value = float(first @ W[:, 0])
        residual = float(np.linalg.norm(W[:, 0] - value * first))
        block_residual = float(np.linalg.norm(W - V @ (V.T @ W)))
        # A converged first vector is not the answer alone: its twin may have converged beside it.
        if residual <= limit or block_residual <= limit:
            pair = _pair(V, W, limit)
            if residual <= limit:
                moduli = None if pair is None else pair.equal_moduli
                return EigenResult(value, first, k, True, residual, moduli)
            if pair is not None:
                return EigenResult(pair.value, pair.vector, k, False, pair.residual, pair.equal_moduli)
        V, _ = np.linalg.qr(W)
    return EigenResult(value, first, max_iterations, False, residual)


def inverse_iteration(
    A: Any, shift: float, *, tolerance: float = 1e-10, max_iterations: int = 200, seed: int = 0
) -> EigenResult:
    """The eigenvalue nearest to a shift, by :math:`v \\leftarrow (A - \\sigma I)^{-1} v`, normalised.

    Parameters, result, meaning of the residual and errors raised are those of `power_iteration`; `shift` is
    real and finite.

    Notes
    -----
    Cost: one LU factorisation, then :math:`2n^2` a step. Converges as the ratio of the distances of the
    nearest and second nearest eigenvalue from the shift. A shift that is an eigenvalue to the last bit makes
    A - shift singular; it is moved by :math:`2^{-52}\\|A\\|_F`, which the method bears: the solution is
    then dominated by the wanted vector. Source: Peters, Wilkinson, Inverse iteration, ill-conditioned
    equations and Newton's method (1979).

    Examples
    --------
    >>> round(inverse_iteration([[2.0, 1.0], [1.0, 3.0]], 1.0).value, 6)
    1.381966
    """
    A = _square(A)
    if not np.isfinite(shift):
        raise BadInput(f"shift must be a finite number, got {shift}")
    solve = _shifted_solver(A, shift)
    return _iterate(A, lambda v, _: solve(v), tolerance, max_iterations, seed)


def rayleigh_iteration(
    A: Any, *, start: Any = None, tolerance: float = 1e-10, max_iterations: int = 100, seed: int = 0
) -> EigenResult:
    """An eigenvalue near the start's Rayleigh quotient, with the shift renewed in each step.

    Parameters, result, meaning of the residual and errors raised are those of `power_iteration`; `start` is a
    nonzero vector of shape (n,), random without.

    Notes
    -----
    :math:`\\rho = v^T A v / v^T v`, then :math:`v \\leftarrow (A - \\rho I)^{-1} v`. Converges cubically for
    symmetric A, quadratically for others, to an eigenpair that need not be the one nearest to the first
    quotient; a real start of a real matrix cannot reach a complex pair (`converged` stays False). Cost
    :math:`2n^3/3` a step. Source: Parlett, The Symmetric Eigenvalue Problem, section 4.6.

    Examples
    --------
    >>> round(rayleigh_iteration([[2.0, 1.0], [1.0, 3.0]], start=[0.0, 1.0]).value, 6)
    3.618034
    """
    A = _square(A)
    first = None if start is None else unwrap(start, "start").values.astype(np.float64)
    if first is not None and (first.shape != A.shape[:1] or not np.isfinite(first).all() or not first.any()):
        raise BadInput(f"start must be a nonzero, finite vector of shape ({A.shape[0]},)")
    return _iterate(A, lambda v, rho: _shifted_solver(A, rho)(v), tolerance, max_iterations, seed, first)


@dataclass(frozen=True)
class EigenCondition:
    """Eigenvalues and their condition numbers, in the same order, each of shape (n,)."""

    values: NDArray[np.complex128]
    conditions: Float64

    def to_dict(self) -> dict[str, Any]:
        """Values as [real, imaginary], and conditions."""
        return {"values": [_plain(v) for v in self.values], "conditions": self.conditions.tolist()}


def eigenvalue_condition(A: Any) -> EigenCondition:
    """How far each eigenvalue moves for a change of A: :math:`1/|y^H x|` for unit left and right vectors.

    Parameters
    ----------
    A : numpy array or torch tensor, shape (n, n), real

    Returns
    -------
    EigenCondition
        1 for a normal matrix (the least possible); infinite for a defective eigenvalue.

    Notes
    -----
    To first order :math:`|\\delta\\lambda| \\le \\mathrm{cond}(\\lambda)\\,\\|\\delta A\\|_2`. Left and right
    vectors are LAPACK's (geev, in float64); their own error grows with the condition, so that a condition of
    c has about :math:`16 - \\log_{10} c` correct digits in general, more for triangular A. Equal eigenvalues
    have no unique vectors: their conditions are those of the vectors LAPACK chose. Cost about :math:`25n^3`.

    Raises
    ------
    BadInput
        Not a square matrix, NaN or infinite entries.

    References
    ----------
    Wilkinson, The Algebraic Eigenvalue Problem, chapter 2; Golub, Van Loan, section 7.2.2.

    Examples
    --------
    >>> eigenvalue_condition([[1.0, 1000.0], [0.0, 2.0]]).conditions.round(3)
    array([1000., 1000.])
    """
    from scipy.linalg import eig

    A = _square(A)
    values, left, right = eig(A, left=True, right=True, check_finite=False)
    with np.errstate(divide="ignore"):
        conditions = 1.0 / np.abs(np.einsum("ij,ij->j", left.conj(), right))
    return EigenCondition(values, conditions)


def _iterate(
    A: Float64,
    solve: Callable[[Float64, float], Float64],
    tolerance: float,
    max_iterations: int,
    seed: int,
    start: Float64 | None = None,
) -> EigenResult:
    _require_positive(tolerance, max_iterations)
    limit = _limit(A, tolerance)
    v = np.random.default_rng(seed).standard_normal(A.shape[0]) if start is None else start
    result = _measure(A, np.asarray(v / np.linalg.norm(v)), 0, limit)
    while not result.converged and result.iterations < max_iterations:
        v = solve(result.vector, float(np.real(result.value)))
        result = _measure(A, np.asarray(v / np.linalg.norm(v)), result.iterations + 1, limit)
    return result


def _measure(A: Float64, v: Float64, iterations: int, limit: float) -> EigenResult:
    image = A @ v
    value = float(v @ image)
    residual = float(np.linalg.norm(image - value * v))
    return EigenResult(value, v, iterations, residual <= limit, residual)


def _pair(V: Float64, W: Float64, limit: float) -> EigenResult | None:
    """Two eigenvalues of equal modulus on the span of V, given W = A V; None if there are none."""
    if V.shape[1] < 2:
        return None
    values, mix = np.linalg.eig(V.T @ W)
    vectors = V @ mix
    residuals = np.linalg.norm(W @ mix - vectors * values, axis=0)
    first, second = (int(i) for i in np.argsort(-np.abs(values), kind="stable"))
    gap = abs(values[first]) - abs(values[second])
    # The second vector converges no faster than the third eigenvalue lets it: its residual gets more room.
    if gap > 1e-6 * abs(values[first]) or residuals.max() > max(limit, 1e-6 * abs(values[first])):
        return None
    moduli = (_scalar(values[first]), _scalar(values[second]))
    return EigenResult(moduli[0], vectors[:, first], 0, False, float(residuals[first]), moduli)


def _shifted_solver(A: Float64, shift: float) -> Callable[[Float64], Float64]:
    """Solve with A - shift I, moved by a rounding error where it is exactly singular."""
    from scipy.linalg import lapack

    identity = np.eye(A.shape[0])
    lu, pivots, zero_pivot = lapack.dgetrf(A - shift * identity)
    step = np.finfo(np.float64).eps * (float(np.linalg.norm(A)) or 1.0)
    while zero_pivot:
        lu, pivots, zero_pivot = lapack.dgetrf(A - (shift + step) * identity)
        step *= 2.0
    return lambda v: np.asarray(lapack.dgetrs(lu, pivots, v)[0])


def _limit(A: Float64, tolerance: float) -> float:
    return tolerance * (float(np.linalg.norm(A)) or 1.0)


def _square(A: Any) -> Float64:
    matrix = unwrap(A, "A").values.astype(np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise BadInput(f"A has shape {matrix.shape}: pass a square matrix (n, n), n at least 1")
    if not np.isfinite(matrix).all():
        raise BadInput("A holds NaN or infinite entries: remove them first")
    return matrix


def _require_positive(tolerance: float, max_iterations: int) -> None:
    if not tolerance > 0 or max_iterations < 1:
        raise BadInput(
            f"tolerance ({tolerance}) must be positive and max_iterations ({max_iterations}) at least 1"
        )


def _scalar(value: Any) -> float | complex:
    return float(value.real) if value.imag == 0 else complex(value)


def _plain(value: float | complex) -> float | list[float]:
    return [value.real, value.imag] if isinstance(value, complex) else float(value)
