r"""Two factors without their redundancy: r(m + n - r) numbers in place of r(m + n).

A matrix $W_k = LR$ of rank r is also $LA^{-1}AR$ for any invertible (r, r) A. With A the r rows of L that
partial pivoting chooses, $LA^{-1}$ holds the identity in those rows, which need not be stored:

$$W_k[\text{pivots}] = R', \qquad W_k[\text{rest}] = L' R', \qquad R' = AR .$$

The layer computes r outputs and makes the others out of them. Every rank below min(m, n) saves numbers, while
two full factors save only below the break-even rank mn/(m + n). (Source: Zhao et al., pivoting factorization,
arXiv 2501.19090.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Pivoted:
    """`right` (r, n) gives the outputs `pivots` (r,); `left` (m - r, r) of those the others, in order."""

    left: torch.Tensor
    right: torch.Tensor
    pivots: torch.Tensor

    def dense(self) -> torch.Tensor:
        """The matrix (m, n)."""
        m, n = len(self.left) + len(self.right), self.right.shape[1]
        out = self.right.new_empty(m, n)
        out[self.pivots] = self.right
        out[rest(self.pivots, m)] = self.left @ self.right
        return out


def rest(pivots: torch.Tensor, m: int) -> torch.Tensor:
    """The rows that are no pivots, ascending."""
    mask = torch.ones(m, dtype=torch.bool, device=pivots.device)
    mask[pivots] = False
    return mask.nonzero()[:, 0]


def pivot(left: torch.Tensor, right: torch.Tensor) -> Pivoted:
    """Put a product of factors (m, r) and (r, n) into the pivoted form.

    Rows are chosen by LU with partial pivoting of the orthogonalised `left`, in float64: entries of the new
    `left` are then small multiples of one. Cost O(m r^2 + r^2 n).
    """
    wide = left.double()
    m, r = wide.shape
    Q, T = torch.linalg.qr(wide)
    _, swaps = torch.linalg.lu_factor(Q)
    order = _order(swaps, m)
    pivots = order[:r].sort().values
    A = Q[pivots]
    others = Q[rest(pivots, m)]
    # others @ A^-1, solved from the right.
    new_left = torch.linalg.solve(A, others, left=False) if len(others) else others
    return Pivoted(new_left, (A @ T) @ right.double(), pivots)


def _order(swaps: torch.Tensor, m: int) -> torch.Tensor:
    """Row numbers after LAPACK's row exchanges (1-based)."""
    order = list(range(m))
    for i, j in enumerate(swaps.tolist()):
        order[i], order[j - 1] = order[j - 1], order[i]
    return torch.tensor(order, device=swaps.device)
