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

from svd_compress.factoring import eigh

EPS, TINY = torch.finfo(torch.float64).eps, torch.finfo(torch.float64).tiny


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


def unpivot(compact: Pivoted) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Two full factors (m, r) and (r, n) of the same product, of orthogonal columns and rows of one norm.

    Training needs them: in the pivoted form a small step of `right` is multiplied by the rows of `left`, and
    their norms are well above one. With full = QA and $(A\,right)(A\,right)^T = U \Sigma^2 U^T$ they are
    $QU\Sigma^{1/2}$ and $\Sigma^{-1/2}U^TA\,right$; $\Sigma$ drops out of the product, however inexact. Cost
    O((m + n) r^2), in float64.
    """
    r = len(compact.right)
    full = compact.right.new_zeros(len(compact.left) + r, r, dtype=torch.float64)
    full[compact.pivots] = torch.eye(r, dtype=torch.float64, device=full.device)
    full[rest(compact.pivots, len(full))] = compact.left.double()
    Q, A = torch.linalg.qr(full)
    inner = A @ compact.right.double()
    energies, U = eigh(inner @ inner.T)
    # What is below is rounding; the least is for a matrix of zeros.
    roots = energies.clamp(min=max(EPS * float(energies[-1]), TINY)) ** 0.25
    return Q @ (U * roots), (U.T @ inner) / roots[:, None]


def pivot(left: torch.Tensor, right: torch.Tensor) -> Pivoted:
    """Put a product of factors (m, r) and (r, n) into the pivoted form.

    Rows are chosen by LU with partial pivoting of `left`, in float64: with P left = [L1; L2] U the new
    `left` is L2 L1^-1, whose entries are small multiples of one. U, and with it the scale and the slant of
    the columns, drops out: orthogonal columns would give the same. Cost O(m r^2 + r^2 n).
    """
    wide = left.double()
    m, r = wide.shape
    # A factor without full rank leaves a zero in U, which nothing is divided by.
    packed, swaps, _ = torch.linalg.lu_factor_ex(wide)
    order = _order(swaps, m)
    chosen, others = order[:r].sort(), order[r:].sort()
    # others @ L1^-1, solved from the right; L1 has ones on its diagonal.
    solved = torch.linalg.solve_triangular(
        packed[:r], packed[r:], upper=False, left=False, unitriangular=True
    )
    new_left = solved[others.indices][:, chosen.indices]
    return Pivoted(new_left.contiguous(), wide[chosen.values] @ right.double(), chosen.values)


def _order(swaps: torch.Tensor, m: int) -> torch.Tensor:
    """Row numbers after LAPACK's row exchanges (1-based)."""
    order = list(range(m))
    for i, j in enumerate(swaps.tolist()):
        order[i], order[j - 1] = order[j - 1], order[i]
    return torch.tensor(order, device=swaps.device)
