"""Three QRs of one matrix of known condition, judged as LAPACK judges its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput
from stable_ops.arrays import Float64
from stable_ops.linalg.qr import gram_schmidt, householder_qr

Factorise = Callable[[Any], tuple[Any, Any]]

_METHODS: dict[str, Factorise] = {
    "classical": lambda A: gram_schmidt(A, variant="classical"),
    "modified": lambda A: gram_schmidt(A, variant="modified"),
    "householder": householder_qr,
}


@dataclass(frozen=True)
class QRQuality:
    """How orthogonal Q is and how well QR gives A back.

    Attributes
    ----------
    name : str
        classical, modified or householder.
    orthogonality : float
        :math:`\\|I - Q^T Q\\|_F`, computed in float64.
    backward_error : float
        :math:`\\|A - QR\\|_1 / (m\\,\\epsilon\\,\\|A\\|_1)`, eps of the dtype; LAPACK's tests want less
        than 30 (TESTING/LIN/dqrt01.f).
    """

    name: str
    orthogonality: float
    backward_error: float

    def to_dict(self) -> dict[str, Any]:
        """The fields, as `stable-ops qr --json` prints them."""
        return asdict(self)


def compare_qr(
    *, condition: float = 1e6, dtype: str = "float32", rows: int = 200, columns: int = 100, seed: int = 0
) -> list[QRQuality]:
    """Factorise one random matrix of that 2-norm condition by the three methods.

    Raises
    ------
    BadInput
        A condition below 1 or beyond 1/eps of float64, another dtype, more columns than rows.
    """
    if dtype not in ("float32", "float64"):
        raise BadInput(f"dtype {dtype!r} has no QR here: use float32 or float64")
    if not 1 <= condition <= 1e16:
        raise BadInput(f"condition must lie in [1, 1e16], got {condition}")
    if columns > rows:
        raise BadInput(f"the matrix is {rows} x {columns}: ask for at most as many columns as rows")
    A = conditioned_matrix(rows, columns, condition, seed).astype(dtype)
    return [measure_qr(name, A, *factorise(A)) for name, factorise in _METHODS.items()]


def conditioned_matrix(rows: int, columns: int, condition: float, seed: int) -> Float64:
    """Random singular vectors, singular values from 1 down to 1/condition in equal ratios."""
    rng = np.random.default_rng(seed)
    left, _ = np.linalg.qr(rng.standard_normal((rows, columns)))
    right, _ = np.linalg.qr(rng.standard_normal((columns, columns)))
    matrix: Float64 = (left * np.geomspace(1.0, 1.0 / condition, columns)) @ right.T
    return matrix


def measure_qr(name: str, A: NDArray[Any], Q: NDArray[Any], R: NDArray[Any]) -> QRQuality:
    """The two measures of a factorisation, in float64."""
    eps = float(np.finfo(A.dtype).eps)
    A, Q, R = (np.asarray(M, dtype=np.float64) for M in (A, Q, R))
    orthogonality = float(np.linalg.norm(np.eye(Q.shape[1]) - Q.T @ Q))
    error = float(np.linalg.norm(A - Q @ R, 1) / (A.shape[0] * eps * np.linalg.norm(A, 1)))
    return QRQuality(name, orthogonality, error)
