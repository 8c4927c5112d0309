"""The best approximation of a matrix by one of low rank, and the rank below which it is worth having."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput
from svd_compress.decompositions import Decomposition, Method, decompose
from svd_compress.matrices import Float64, Matrix, like, smallest_rank, tail_sums, to_float64

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class LowRank(Generic[Matrix]):
    r"""A matrix of shape (m, n) as `left @ right`.

    Attributes
    ----------
    left, right
        Factors of shape (m, rank) and (rank, n), of the type, dtype and device of the matrix.
    rank
        Columns of `left`.
    singular_values
        Singular values in float64, descending: all min(m, n), or with method "randomized" the leading ones.
    spectral_error, frobenius_error
        Norms of the residual `A - left @ right` of the exact factors (rounding them to the matrix's own
        dtype adds up to one unit roundoff, relative). With method "randomized" the first is the estimate
        $\hat\sigma_{k+1}$, never above the true value.
    energy
        Share of the squared singular values that is kept; 1 for a matrix of zeros.
    break_even_rank
        Largest rank whose factors hold no more numbers than the matrix, see `break_even_rank`.
    method
        "full", "gram" or "randomized".
    error_bound
        Upper bound on the spectral error. With "randomized" it was measured afterwards and fails with
        probability 1e-12 at most; otherwise it is the error itself.
    """

    left: Matrix
    right: Matrix
    rank: int
    singular_values: Float64
    spectral_error: float
    frobenius_error: float
    energy: float
    break_even_rank: int
    method: Method = "full"
    error_bound: float = 0.0

    @property
    def saves(self) -> bool:
        """Whether the two factors hold fewer numbers than the matrix."""
        m, n = self.left.shape[0], self.right.shape[1]
        return bool(self.rank * (m + n) < m * n)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the factors."""
        return {
            "rank": self.rank,
            "singular_values": self.singular_values.tolist(),
            "spectral_error": self.spectral_error,
            "frobenius_error": self.frobenius_error,
            "energy": self.energy,
            "break_even_rank": self.break_even_rank,
            "method": self.method,
            "error_bound": self.error_bound,
        }


def break_even_rank(m: int, n: int) -> int:
    r"""Largest rank whose factors hold no more numbers than the matrix: $\lfloor mn/(m+n) \rfloor$.

    Rank r costs r(m+n) numbers in place of mn. Every rank below the break-even rank saves; the break-even
    rank itself saves too, unless m+n divides mn, where it costs exactly as much as the matrix (a square
    matrix of even size). It is 0 for a vector: no rank saves anything.

    Parameters
    ----------
    m, n
        Rows and columns, both positive.

    Raises
    ------
    BadInput
        If `m` or `n` is not a positive integer.

    Examples
    --------
    >>> break_even_rank(4096, 4096), break_even_rank(576, 1536), break_even_rank(3, 7)
    (2048, 418, 2)
    """
    if int(m) != m or int(n) != n or m < 1 or n < 1:
        raise BadInput(f"the shape is ({m}, {n}); two positive whole numbers are expected")
    return int(m) * int(n) // (int(m) + int(n))


def low_rank_approx(
    A: Matrix,
    *,
    energy: float | None = None,
    rank: int | None = None,
    tol: float | None = None,
    accuracy: float = 0.0,
    method: Method | None = None,
    seed: int = 0,
) -> LowRank[Matrix]:
    r"""Best approximation of `A` by a product of two thin matrices (Eckart, Young and Mirsky).

    With $A = U \operatorname{diag}(\sigma) V^T$, the factors are $U_k \sigma_k^{1/2}$ and
    $\sigma_k^{1/2} V_k^T$; no matrix of rank k is nearer in the spectral norm, where the distance
    is $\sigma_{k+1}$, nor in the Frobenius norm, where it is $(\sum_{i>k}\sigma_i^2)^{1/2}$.

    Parameters
    ----------
    A
        Array or tensor of shape (m, n), any real dtype. The decomposition runs in float64.
    energy
        Share in (0, 1] of $\sum\sigma_i^2$ to keep; the smallest rank that keeps it is taken.
    rank
        The rank itself, 0 to min(m, n).
    tol
        Spectral error relative to $\sigma_1$: the smallest rank with
        $\sigma_{k+1} \le \mathrm{tol}\,\sigma_1$ is taken.
    accuracy
        How far the spectral error may be from the best possible, relative to $\sigma_1$. With 0 the full SVD
        is taken; with more, the cheapest method that reaches it, see `svd_compress.decompositions`.
    method
        "full", "gram" or "randomized" (which needs `rank`), to name it yourself.
    seed
        Of the random sketch.

    Returns
    -------
    LowRank
        Factors of the type, dtype and device of `A`, with the errors. Cost $O(mn\min(m,n))$;
        in float64 the errors agree with the norms of the residual to 1e-12 of $\sigma_1$.

    Raises
    ------
    BadInput
        Unless exactly one of `energy`, `rank`, `tol` is given, in its range; or if `A` is not a finite
        non-empty matrix.

    Notes
    -----
    Nearness to the weights is not nearness of the outputs: for a layer of a network use
    `whitened_approx`, which weighs the error by the inputs that the layer sees.

    Source: G. Golub, C. Van Loan, Matrix Computations, 4th edition, section 2.4.

    Examples
    --------
    >>> low_rank_approx(np.diag([3.0, 2.0, 1.0]), rank=2).spectral_error
    1.0
    """
    if sum(choice is not None for choice in (energy, rank, tol)) != 1:
        raise BadInput("give exactly one of energy=, rank= and tol=")
    _check(accuracy, method, rank)
    matrix = to_float64(A)
    # Squares of entries near 1e200 overflow and those near 1e-200 vanish; a power of two changes no bit.
    scale = 2.0 ** np.floor(np.log2(np.abs(matrix).max() or 1.0))
    p = min(matrix.shape)
    if rank is not None:
        _check_rank(rank, p)
    found = decompose(matrix / scale, rank=rank, accuracy=accuracy, method=method, seed=seed)
    k = _choose(found.sigma, energy=energy, rank=rank, tol=tol)
    return _cut(A, found, k, scale, total=float(np.square(matrix / scale).sum()))


def _cut(A: Matrix, found: Decomposition, k: int, scale: float, *, total: float) -> LowRank[Matrix]:
    sigma = found.sigma
    whole = len(sigma) == min(A.shape)
    tails = tail_sums(sigma**2)
    # A projection on k directions leaves out what they do not hold; that needs no other singular value.
    left_out = tails[k] if whole else max(total - float((sigma[:k] ** 2).sum()), 0.0)
    all_of_it = tails[0] if whole else total
    m, n = A.shape
    root = np.sqrt(sigma[:k] * scale)
    safe = np.where(root > 0, root, 1.0)
    spectral = float(sigma[k]) if k < len(sigma) else 0.0
    return LowRank(
        left=like(found.left[:, :k] * root, A),
        right=like(found.right[:k] * (scale / safe)[:, None], A),
        rank=k,
        singular_values=sigma * scale,
        spectral_error=spectral * scale,
        frobenius_error=float(np.sqrt(left_out)) * scale,
        energy=float(1.0 - left_out / all_of_it) if all_of_it else 1.0,
        break_even_rank=break_even_rank(m, n),
        method=found.method,
        error_bound=float(np.hypot(spectral, found.missed)) * scale,
    )


def _check(accuracy: float, method: str | None, rank: int | None) -> None:
    if not 0.0 <= accuracy < 1.0:
        raise BadInput(f"accuracy is {accuracy}; a relative error in [0, 1) is expected, such as 1e-6")
    if method not in (None, "full", "gram", "randomized"):
        raise BadInput(f"method is {method!r}; full, gram or randomized is expected")
    if method == "randomized" and (rank is None or accuracy == 0.0):
        raise BadInput("the randomized method needs rank= and an accuracy= above 0")


def _check_rank(rank: int, largest: int) -> None:
    if int(rank) != rank or not 0 <= rank <= largest:
        raise BadInput(f"rank is {rank}; a whole number from 0 to {largest} is expected")


def _choose(sigma: Float64, *, energy: float | None, rank: int | None, tol: float | None) -> int:
    if rank is not None:
        return int(rank)
    if energy is not None:
        return smallest_rank(sigma**2, energy)
    assert tol is not None
    if not 0.0 <= tol < 1.0:
        raise BadInput(f"tol is {tol}; a relative error in [0, 1) is expected")
    return int(np.count_nonzero(sigma > tol * sigma[0]))


def spectrum_energies(A: NDArray[Any] | torch.Tensor) -> Float64:
    r"""Squared singular values, descending, scaled so that the largest entry of `A` counts as about 1.

    Eigenvalues of the smaller Gram matrix in float64: several times cheaper than an SVD. Each is within
    $O(n\varepsilon)\sigma_1^2$, so shares of energy are good to about 1e-13, but a singular value
    below 1e-7 of the largest is noise.

    Returns
    -------
    ndarray
        float64, of length min(m, n), none negative. All zeros for a matrix of zeros.
    """
    matrix = to_float64(A)
    matrix /= np.abs(matrix).max() or 1.0
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    energies: Float64 = np.maximum(np.linalg.eigvalsh(gram)[::-1], 0.0)
    return energies
