r"""Three ways to the leading singular vectors, and which of them is cheapest for the accuracy asked for.

*full*: LAPACK's SVD, exact to rounding. *gram*: eigenvectors of the smaller Gram matrix; the squares lose
half of the digits, so a singular value is good to $\sqrt{p\varepsilon}\,\sigma_1$ with p = min(m, n).
*randomized*: a Gaussian sketch of k + `OVERSAMPLING` columns, power iterations with orthogonalisation, and a
bound on what it missed that is measured afterwards and decides whether to go on.

Source: N. Halko, P. Martinsson, J. Tropp, Finding structure with randomness, SIAM Review 53 (2011),
algorithms 4.4 and 5.1, lemma 4.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from svd_compress.matrices import Float64, eigh, svd

Method = Literal["full", "gram", "randomized"]
OVERSAMPLING, POWER_ITERATIONS = 10, 6
# Gaussian vectors of the posterior bound: it fails with probability 10^-PROBES at most.
PROBES = 12
# Of floating-point operations, relative to m n p, as LAPACK's drivers need them.
FULL_COST, GRAM_COST, EIGH_COST = 14.0, 2.0, 9.0


@dataclass(frozen=True)
class Decomposition:
    """Leading singular triplets of a matrix.

    Attributes
    ----------
    left
        Orthonormal columns U (m, l).
    right
        U^T A (l, n): the rows are sigma_i v_i^T.
    sigma
        (l,) descending.
    missed
        Upper bound on the spectral norm of what lies outside the l directions; 0 for a full basis.
    method
        How it was found.
    """

    left: Float64
    right: Float64
    sigma: Float64
    missed: float
    method: Method


def full(A: Float64) -> Decomposition:
    """By LAPACK."""
    U, sigma, Vt = svd(A)
    return Decomposition(U, sigma[:, None] * Vt, sigma, 0.0, "full")


def gram(A: Float64) -> Decomposition:
    """By an eigendecomposition of the smaller of A A^T and A^T A."""
    m, n = A.shape
    if m <= n:
        values, U = eigh(A @ A.T)
        sigma = np.sqrt(np.maximum(values[::-1], 0.0))
        left = U[:, ::-1]
        return Decomposition(left, left.T @ A, sigma, 0.0, "gram")
    values, V = eigh(A.T @ A)
    sigma = np.sqrt(np.maximum(values[::-1], 0.0))
    # Columns of A V are orthogonal up to rounding of the largest; QR makes them so where they are tiny.
    left, R = np.linalg.qr(A @ V[:, ::-1])
    return Decomposition(left, R @ V[:, ::-1].T, sigma, 0.0, "gram")


def randomized(A: Float64, rank: int, *, accuracy: float, seed: int = 0) -> Decomposition | None:
    r"""By a random sketch; None where the bound does not reach the accuracy within `POWER_ITERATIONS`.

    The rank-k truncation has a spectral error between the computed $\hat\sigma_{k+1}$, which never exceeds
    the true one, and $(\hat\sigma_{k+1}^2 + e^2)^{1/2}$ with e the bound on what was missed. It is accepted
    once the two differ by at most `accuracy` times the largest singular value.
    """
    rng = np.random.default_rng(seed)
    m, n = A.shape
    width = min(rank + OVERSAMPLING, m, n)
    Q = np.linalg.qr(A @ rng.standard_normal((n, width)))[0]
    for _ in range(POWER_ITERATIONS):
        Q = np.linalg.qr(A @ np.linalg.qr(A.T @ Q)[0])[0]
        inner, sigma, Vt = svd(Q.T @ A)
        missed = posterior_bound(A, Q, rng)
        next_one = sigma[rank] if rank < len(sigma) else 0.0
        if math.hypot(next_one, missed) - next_one <= accuracy * sigma[0]:
            return Decomposition(Q @ inner, sigma[:, None] * Vt, sigma, missed, "randomized")
    return None


def posterior_bound(A: Float64, Q: Float64, rng: np.random.Generator) -> float:
    r"""Bound on $\|A - QQ^TA\|_2$ that holds with probability $1 - 10^{-\mathrm{PROBES}}$.

    $10\sqrt{2/\pi}\max_i\|(I - QQ^T)A\omega_i\|$ over Gaussian vectors (Halko et al., lemma 4.1 with
    alpha = 10).
    """
    Y = A @ rng.standard_normal((A.shape[1], PROBES))
    return float(10 * math.sqrt(2 / math.pi) * np.linalg.norm(Y - Q @ (Q.T @ Y), axis=0).max())


def order_of_methods(shape: tuple[int, int], rank: int | None, accuracy: float) -> list[Method]:
    """The methods that can reach the accuracy, the cheapest first; `full` always can."""
    m, n = shape
    p = min(m, n)
    costs: dict[Method, float] = {"full": FULL_COST * m * n * p}
    if accuracy >= math.sqrt(p * np.finfo(np.float64).eps):
        costs["gram"] = GRAM_COST * m * n * p + EIGH_COST * p**3
    if rank is not None and rank + OVERSAMPLING < p and accuracy > 0.0:
        width = rank + OVERSAMPLING
        # Two iterations are usually enough: four products, their QR and a small SVD.
        costs["randomized"] = 10.0 * m * n * width + FULL_COST * width * width * n
    return sorted(costs, key=costs.__getitem__)


def decompose(
    A: Float64, *, rank: int | None, accuracy: float, method: Method | None = None, seed: int = 0
) -> Decomposition:
    """By the method named, else by the cheapest that reaches the accuracy.

    Parameters
    ----------
    A
        Finite, entries of about 1 at most.
    rank
        How many triplets are wanted; None for all.
    accuracy
        Of the error and of the singular values, relative to the largest.
    method
        A randomized one that misses the accuracy is followed by the next; the others are final.
    seed
        Of the sketch.
    """
    for name in [method] if method else order_of_methods((A.shape[0], A.shape[1]), rank, accuracy):
        if name == "gram":
            return gram(A)
        if name == "randomized" and rank is not None:
            found = randomized(A, rank, accuracy=accuracy, seed=seed)
            if found is not None:
                return found
        if name == "full":
            break
    return full(A)
