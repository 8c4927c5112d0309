"""Truncation that is optimal for the outputs of a layer on the inputs it sees, not for its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput
from svd_compress.lowrank import LowRank, break_even_rank
from svd_compress.matrices import Float64, Matrix, eigh, like, svd, tail_sums, to_float64

if TYPE_CHECKING:
    import torch

FLOOR = 1e-8


@dataclass(frozen=True)
class WhitenedFactors:
    """Every truncation of one layer at once: the first k columns and rows are the factors of rank k.

    Attributes
    ----------
    left, right
        float64, of shape (m, p) and (p, n) with p = min(m, n).
    energies
        Squared singular values of the whitened matrix, descending. `tail(k)` is the loss of rank k.
    """

    left: Float64
    right: Float64
    energies: Float64

    def tail(self) -> Float64:
        """Whitened loss at rank 0, 1, ..., p."""
        return tail_sums(self.energies)


def square_root(gram: Float64, *, floor: float = FLOOR) -> tuple[Float64, Float64]:
    r"""A factor S with $S S^T = G$, and its inverse, by an eigendecomposition with a relative floor.

    $G = Q \Lambda Q^T$ gives $S = Q \max(\Lambda, \mathrm{floor}\,\lambda_1)^{1/2}$. Unlike a
    Cholesky factorisation this cannot fail on a singular G: dead channels, duplicate channels, fewer
    tokens than columns, or eigenvalues that rounding made negative. A matrix of zeros (no input was ever
    seen) gives the identity.

    Parameters
    ----------
    gram
        Symmetric positive semidefinite, (n, n) float64.
    floor
        Smallest eigenvalue relative to the largest. It also says how much a direction that calibration
        never saw counts.
    """
    values, Q = eigh(gram)
    if values[-1] <= 0.0:
        return np.eye(len(gram)), np.eye(len(gram))
    roots = np.sqrt(np.maximum(values / values[-1], floor)) * np.sqrt(values[-1])
    return Q * roots, (Q / roots).T


def whitened_factors(
    W: NDArray[Any] | torch.Tensor,
    gram: NDArray[Any],
    *,
    output_gram: NDArray[Any] | None = None,
    floor: float = FLOOR,
) -> WhitenedFactors:
    r"""All optimal truncations of a layer under $\|B^T(W - W_k)S\|_F$.

    $SS^T=G$ is the second moment of the inputs, $BB^T=F$ that of the
    outputs' gradients. With the SVD $B^T W S = U \Sigma V^T$ the best $W_k$ is
    $(B^{-T} U_k)(U_k^T B^T W)$: the inputs' factor S is never inverted, so a singular Gram costs
    nothing. F is the identity unless `output_gram` is given.

    Parameters
    ----------
    W
        Weights of shape (out, in).
    gram
        Second moment of the inputs, (in, in): $E[x x^T]$ or the sum over tokens.
    output_gram
        Second moment of the gradients of the loss with respect to the outputs, (out, out): with it, half
        the tail is the second-order estimate of the rise of the loss (K-FAC). Cost O(out^3) more.
    floor
        See `square_root`.

    Raises
    ------
    BadInput
        If a matrix is not finite, or the shapes do not fit.
    """
    weights = to_float64(W, name="W")
    m, n = weights.shape
    S = square_root(_moment(gram, n, "gram", "columns"), floor=floor)[0]
    if output_gram is None:
        U, sigma, _ = svd(weights @ S)
        return WhitenedFactors(left=U, right=U.T @ weights, energies=sigma**2)
    B, B_inverse = square_root(_moment(output_gram, m, "output_gram", "rows"), floor=floor)
    U, sigma, _ = svd(B.T @ weights @ S)
    return WhitenedFactors(left=B_inverse.T @ U, right=U.T @ (B.T @ weights), energies=sigma**2)


def _moment(gram: NDArray[Any], size: int, name: str, side: str) -> Float64:
    matrix = to_float64(gram, name=name)
    if matrix.shape != (size, size):
        raise BadInput(f"{name} has shape {matrix.shape}; one for the {side} of W has ({size}, {size})")
    scale = np.abs(matrix).max()
    if np.abs(matrix - matrix.T).max() > 1e-6 * scale:
        raise BadInput(f"{name} is not symmetric; a second moment X^T X is expected")
    return matrix


def whitened_approx(W: Matrix, gram: NDArray[Any], rank: int, *, floor: float = FLOOR) -> LowRank[Matrix]:
    r"""The matrix of rank at most `rank` with the smallest $\|(W - W_k) X\|_F$; $G = X X^T$.

    Parameters
    ----------
    W
        Weights of shape (out, in), array or tensor.
    gram
        Second moment of the inputs, (in, in); `checkpoint_lens.second_moments` computes it.
    rank
        0 to min(out, in).
    floor
        Relative floor of the eigenvalues of `gram`, see `square_root`.

    Returns
    -------
    LowRank
        `singular_values` are those of W S with $S S^T = G$; `frobenius_error` is
        $\|(W - W_k) S\|_F$, their tail, and `spectral_error` the next one. With `floor=0` the
        Frobenius error is exactly $\|(W - W_k) X\|_F$; with a floor it is at most
        $(\mathrm{floor}\,\lambda_1)^{1/2}\|W - W_k\|_F$ larger. Cost O(in^3 + out in min(out, in)).

    Raises
    ------
    BadInput
        If a matrix is not finite, the shapes do not fit, or the rank is out of range.

    Notes
    -----
    Source: X. Wang et al., SVD-LLM (arXiv 2403.07378), section 3, with the Cholesky factor replaced by a
    floored eigendecomposition and the inverse by a projection on the left singular vectors.
    """
    factors = whitened_factors(W, gram, floor=floor)
    p = len(factors.energies)
    if int(rank) != rank or not 0 <= rank <= p:
        raise BadInput(f"rank is {rank}; a whole number from 0 to {p} is expected")
    k, tails = int(rank), factors.tail()
    m, n = W.shape
    return LowRank(
        left=like(factors.left[:, :k], W),
        right=like(factors.right[:k], W),
        rank=k,
        singular_values=np.sqrt(factors.energies),
        spectral_error=float(np.sqrt(factors.energies[k])) if k < p else 0.0,
        frobenius_error=float(np.sqrt(tails[k])),
        energy=float(1.0 - tails[k] / tails[0]) if tails[0] else 1.0,
        break_even_rank=break_even_rank(m, n),
    )
