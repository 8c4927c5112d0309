"""What counts as a matrix here, and the singular value decomposition behind everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput

if TYPE_CHECKING:
    import torch

Matrix = TypeVar("Matrix", "NDArray[Any]", "torch.Tensor")
Float64 = NDArray[np.float64]


def is_tensor(A: object) -> bool:
    """Whether `A` is a torch tensor; torch itself is not imported to find out."""
    return type(A).__module__.partition(".")[0] == "torch"


def to_float64(A: NDArray[Any] | torch.Tensor, *, name: str = "the matrix") -> Float64:
    """A float64 copy of a finite two-dimensional array or tensor.

    Raises
    ------
    BadInput
        If `A` is not two-dimensional, is empty, is complex, or holds NaN or infinity.
    """
    array = cast("torch.Tensor", A).detach().to("cpu").double().numpy() if is_tensor(A) else np.asarray(A)
    if array.ndim != 2:
        raise BadInput(f"{name} has shape {array.shape}; a matrix (m, n) is expected")
    if array.size == 0:
        raise BadInput(f"{name} has shape {array.shape}: it is empty; a row and a column are expected")
    if np.iscomplexobj(array):
        raise BadInput(f"{name} is complex; real numbers are expected")
    matrix: Float64 = array.astype(np.float64)
    bad = int(np.count_nonzero(~np.isfinite(matrix)))
    if bad:
        raise BadInput(f"{name} of shape {array.shape} holds {bad} NaN or infinite entries; repair it first")
    return matrix


def like(value: Float64, A: Matrix) -> Matrix:
    """`value` as the type, dtype and device of `A`; integers become float64."""
    # Any, because a type checker reads this body once as if A were an array and once as if a tensor.
    given: Any = A
    result: Any
    if is_tensor(A):
        import torch

        dtype = given.dtype if given.dtype.is_floating_point else torch.float64
        result = torch.from_numpy(np.ascontiguousarray(value)).to(given.device, dtype)
    else:
        # ml_dtypes.bfloat16 has kind "V", so the test is for integers and truth values, not for floats.
        result = value.astype(np.float64 if given.dtype.kind in "biu" else given.dtype)
    return cast("Matrix", result)


def svd(A: Float64) -> tuple[Float64, Float64, Float64]:
    r"""Thin SVD $A = U \operatorname{diag}(\sigma) V^T$, by a second driver if the first fails.

    LAPACK's divide and conquer (gesdd) is fast and now and then does not converge; QR iteration (gesvd)
    is slower and does. If both fail the error is raised: no layer ever gets other weights in place of
    the ones that could not be factored.

    Raises
    ------
    numpy.linalg.LinAlgError
        If neither driver converges.
    """
    try:
        U, sigma, Vt = np.linalg.svd(A, full_matrices=False)
    except np.linalg.LinAlgError:
        from scipy.linalg import svd as scipy_svd

        U, sigma, Vt = scipy_svd(A, full_matrices=False, lapack_driver="gesvd")
    return U, sigma, Vt


def eigh(A: Float64) -> tuple[Float64, Float64]:
    """Eigenvalues ascending and eigenvectors of a symmetric matrix, by a second driver if the first fails.

    Raises
    ------
    numpy.linalg.LinAlgError
        If neither driver converges.
    """
    symmetric = (A + A.T) / 2
    try:
        values, vectors = np.linalg.eigh(symmetric)
    except np.linalg.LinAlgError:
        from scipy.linalg import eigh as scipy_eigh

        values, vectors = scipy_eigh(symmetric, driver="ev")
    return values, vectors


def tail_sums(values: Float64) -> Float64:
    """`out[k] = values[k] + values[k+1] + ...` for k in 0..n, so `out[n] == 0`.

    Added from the small end of a descending sequence: each tail keeps its own relative accuracy, which
    `total - cumsum` loses as soon as the tail is below one rounding unit of the total.
    """
    out = np.zeros(len(values) + 1)
    out[:-1] = np.cumsum(values[::-1])[::-1]
    return out


def smallest_rank(energies: Float64, energy: float) -> int:
    r"""Smallest k with $\sum_{i>k} \sigma_i^2 \le (1 - e) \sum_i \sigma_i^2$; `energies` descend.

    Raises
    ------
    BadInput
        If `energy` is not in (0, 1].
    """
    if not 0.0 < energy <= 1.0:
        raise BadInput(f"energy is {energy}; a share in (0, 1] is expected, such as 0.95")
    tails = tail_sums(energies)
    return int(np.argmax(tails <= (1.0 - energy) * tails[0]))
