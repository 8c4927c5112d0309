"""The largest singular value, with an interval that holds it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from mfi_command import BadInput
from stable_ops.arrays import Float64, unwrap

# Ritz values of a block converge as the gap to the first singular value outside the block.
_BLOCK = 8
_MAX_STEPS = 500
_UNIT = float(np.finfo(np.float64).eps) / 2

Status = Literal["certified", "converged", "lapack"]


@dataclass(frozen=True)
class OperatorNorm:
    """The operator norm and how well it is known.

    Attributes
    ----------
    value : float
        The estimate :math:`\\sqrt\\theta`; never above the norm but for rounding.
    lower, upper : float
        The norm lies between them. `upper` is proven for "certified", infinite for "converged".
    residual : float
        :math:`\\|A^T A v - \\theta v\\| / \\theta`.
    iterations : int
    status : {"certified", "converged", "lapack"}
        "certified": a Cholesky factorisation showed that no larger singular value exists. "converged": the
        residual only, as asked for. "lapack": the iteration was slow, or had missed the largest, and LAPACK's
        singular values answered; the interval is LAPACK's error bound.
    """

    value: float
    lower: float
    upper: float
    residual: float
    iterations: int
    status: Status

    def to_dict(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)


def operator_norm(A: Any, *, tolerance: float = 1e-9, certify: bool = True, seed: int = 0) -> OperatorNorm:
    """The operator norm :math:`\\sigma_1 = \\max \\|Ax\\| / \\|x\\|` and an interval that holds it.

    Parameters
    ----------
    A : numpy array or torch tensor, shape (m, n)
    tolerance : float
        The iteration stops when :math:`\\|A^T A v - \\theta v\\| \\le tol\\,\\theta`.
    certify : bool
        Whether to prove the upper end; costs :math:`mn^2 + n^3/3` with n the shorter side.
    seed : int
        Of the random start.

    Returns
    -------
    OperatorNorm
        In float64, whatever the dtype of A.

    Notes
    -----
    Block power iteration on :math:`A^T A` with 8 vectors and a Rayleigh-Ritz step, so up to 8
    equal largest singular values do not slow it, and more do not either: every vector of their space is an
    answer. The residual alone proves only that *some* singular value is near. That none is larger is proven
    by Cholesky: if :math:`\\mu I - A^T A` has a factor in floating-point arithmetic, then :math:`\\sigma_1^2
    \\le \\mu + \\gamma_{n+1} \\mathrm{tr}(\\mu I - A^TA)/(1 - \\gamma_{n+1}) + \\gamma_m \\|A\\|_F^2`, with
    :math:`\\gamma_k = ku/(1-ku)`; the interval is some 1e-9 wide relatively. Cost O(mn) a step.

    Raises
    ------
    BadInput
        Not a matrix, NaN or infinite entries, a tolerance outside of (0, 1).

    References
    ----------
    Golub, Van Loan, Matrix Computations, section 8.2.4; Higham, Accuracy and Stability, theorem 10.3; Rump,
    Verification of positive definiteness (2006).

    Examples
    --------
    >>> found = operator_norm([[3.0, 0.0], [0.0, 4.0]])
    >>> found.status, found.lower <= 4 <= found.upper, found.upper - found.lower < 1e-8
    ('certified', True, True)
    """
    operand = unwrap(A, "A")
    if operand.values.ndim != 2:
        raise BadInput(f"A has shape {operand.values.shape}: pass one matrix (m, n)")
    if not 0 < tolerance < 1:
        raise BadInput(f"tolerance must lie between 0 and 1, got {tolerance}")
    matrix = operand.values.astype(np.float64)
    if not np.isfinite(matrix).all():
        raise BadInput("A holds NaN or infinite entries: its operator norm is not defined")
    return largest_singular_value(matrix, tolerance, certify=certify, seed=seed)


def largest_singular_value(A: Float64, tolerance: float, *, certify: bool, seed: int = 0) -> OperatorNorm:
    """`operator_norm` of a finite float64 matrix."""
    largest = float(np.abs(A).max(initial=0.0))
    if largest == 0.0:
        return OperatorNorm(0.0, 0.0, 0.0, 0.0, 0, "certified" if certify else "converged")
    scale = 2.0 ** min(math.frexp(largest)[1], 1023)
    tall = A / scale if A.shape[0] >= A.shape[1] else A.T / scale
    theta, residual, steps = _iterate(tall, tolerance, seed)
    if theta is not None:
        value = math.sqrt(theta)
        # Rounding of A v, of the quotient and of the root, generously.
        lower = value * (1 - 4 * sum(tall.shape) * _UNIT)
        upper = _upper(tall, theta, tolerance) if certify else math.inf
        if upper is not None:
            status: Status = "certified" if certify else "converged"
            return OperatorNorm(value * scale, lower * scale, upper * scale, residual, steps, status)
    value = float(np.linalg.svd(tall, compute_uv=False)[0])
    error = 10 * max(tall.shape) * float(np.finfo(np.float64).eps) * value
    return OperatorNorm(
        value * scale, (value - error) * scale, (value + error) * scale, residual, steps, "lapack"
    )


def _iterate(A: Float64, tolerance: float, seed: int) -> tuple[float | None, float, int]:
    """The largest Ritz value of A'A, its relative residual, the steps; no value if they did not suffice."""
    rng = np.random.default_rng(seed)
    V, _ = np.linalg.qr(rng.standard_normal((A.shape[1], min(_BLOCK, A.shape[1]))))
    residual = math.inf
    for step in range(1, _MAX_STEPS + 1):
        W = A.T @ (A @ V)
        theta, mix = np.linalg.eigh(V.T @ W)
        residual = float(np.linalg.norm(W @ mix[:, -1] - theta[-1] * (V @ mix[:, -1])) / theta[-1])
        if residual <= tolerance:
            return float(theta[-1]), residual, step
        V, _ = np.linalg.qr(W)
    return None, residual, _MAX_STEPS


def _upper(A: Float64, theta: float, tolerance: float) -> float | None:
    """A proven upper end of the norm; None where a larger singular value shows."""
    m, n = A.shape
    gram = A.T @ A
    squares = float(np.trace(gram)) * (1 + _gamma(m))
    # What the proof loses to rounding must not be what makes the factorisation fail.
    slack = _gamma(n + 1) / (1 - _gamma(n + 1)) * n * theta + _gamma(m) * squares
    bound = theta * (1 + tolerance) + 2 * slack
    shifted = -gram
    shifted[np.diag_indices(n)] += bound
    try:
        np.linalg.cholesky(shifted)
    except np.linalg.LinAlgError:
        return None
    rounding = 2 * _UNIT * (bound + squares)
    return math.sqrt(bound + 2 * slack + rounding) * (1 + 2 * _UNIT)


def _gamma(k: int) -> float:
    return k * _UNIT / (1 - k * _UNIT)
