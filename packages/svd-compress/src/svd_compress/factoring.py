r"""All optimal truncations of a layer at once, in torch on the device of its weights.

Under the norm $\|B^T(W - W_k)S\|_F$ with $SS^T = G$ and $BB^T = F$ let $M = B^T W S$. Of an (m, n) layer
only the moment of its *smaller* side has to be taken apart: for m <= n

$$M M^T = B^T W G W^T B = U \Sigma^2 U^T, \qquad W_k = (B^{-T} U_k)(U_k^T B^T W),$$

and for m > n, with $M^T M = S^T W^T F W S = V \Sigma^2 V^T$, $W_k = (W S V_k)(V_k^T S^{-1})$. Two
eigendecompositions of size min(m, n) stand for two of m and n and a singular value decomposition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from mfi_command import BadInput
from svd_compress.carrying import Carried


@dataclass(frozen=True)
class Factoring(Carried):
    """Every truncation of one layer: the first k columns and rows are its factors of rank k.

    Attributes
    ----------
    left, right
        (m, p) and (p, n) with p = min(m, n), float64 as computed, on the device of the weights.
    energies
        (p,) squared singular values of the weighted matrix, descending, float64 on the CPU. Each is within
        $O(p\\varepsilon)\\sigma_1^2$: what is below about 1e-13 of the first is noise.
    """

    left: torch.Tensor
    right: torch.Tensor
    energies: torch.Tensor

    def tail(self) -> torch.Tensor:
        """Weighted loss at rank 0, 1, ..., p, summed from the small end."""
        sums = self.energies.flip(0).cumsum(0).flip(0)
        return torch.cat([sums, sums.new_zeros(1)])


def eigh(A: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenvalues ascending and eigenvectors of a symmetric matrix; a second and a third driver if one fails.

    Divide and conquer on the matrix's own device; on the CPU if that does not converge; then LAPACK's QR
    iteration (`syev`). Nothing is ever put in place of a decomposition that failed.

    Raises
    ------
    ArithmeticError
        If no driver converges.
    """
    import numpy as np

    symmetric = (A + A.T) / 2
    for attempt in (symmetric, symmetric.cpu()):
        try:
            values, vectors = torch.linalg.eigh(attempt)
        except RuntimeError:  # torch's LinAlgError is one, and is not exported where a checker sees it
            continue
        if bool(torch.isfinite(values).all()) and bool(torch.isfinite(vectors).all()):
            return values.to(A.device), vectors.to(A.device)
    from scipy.linalg import eigh as scipy_eigh

    try:
        values_, vectors_ = scipy_eigh(symmetric.cpu().numpy(), driver="ev")
    except (np.linalg.LinAlgError, ValueError) as error:
        raise ArithmeticError(
            f"no eigenvalue driver converges for a matrix of size {len(A)} ({error}); the layer is left alone"
        ) from error
    return torch.from_numpy(values_).to(A.device), torch.from_numpy(vectors_).to(A.device)


def root(moment: torch.Tensor, *, floor: float) -> tuple[torch.Tensor, torch.Tensor]:
    """S with S S^T = moment and its inverse; eigenvalues are raised to `floor` times the largest."""
    values, Q = eigh(moment)
    if float(values[-1]) <= 0.0:
        identity = torch.eye(len(moment), dtype=moment.dtype, device=moment.device)
        return identity, identity
    roots = values.clamp(min=floor * float(values[-1])).sqrt()
    return Q * roots, (Q / roots).T


def factor(
    W: torch.Tensor, gram: torch.Tensor | None, output_gram: torch.Tensor | None = None, *, floor: float
) -> Factoring:
    """Factor a layer under the second moments of its inputs and of its outputs' gradients.

    Parameters
    ----------
    W
        (m, n), any float dtype.
    gram
        (n, n) second moment of the inputs; None for the identity.
    output_gram
        (m, m) second moment of the gradients at the outputs; None for the identity.
    floor
        Smallest eigenvalue of the smaller side's moment relative to its largest; the larger side's moment
        gets that multiple of its mean eigenvalue added.

    Raises
    ------
    BadInput
        If a number is NaN or infinite.
    ArithmeticError
        If no driver converges.
    """
    weights = W.detach().double()
    m, n = weights.shape
    for name, part in (("W", weights), ("gram", gram), ("output_gram", output_gram)):
        if part is not None and not bool(torch.isfinite(part).all()):
            raise BadInput(f"{name} holds NaN or infinite entries; repair it first")
    wide: dict[str, Any] = {"dtype": torch.float64, "device": weights.device}
    if m <= n:
        seen = weights if gram is None else weights @ _raised(gram.to(**wide), floor)
        if output_gram is None:
            energies, U = _descending(seen @ weights.T)
            return Factoring(U, U.T @ weights, energies)
        B, inverse = root(output_gram.to(**wide), floor=floor)
        energies, U = _descending(B.T @ (seen @ weights.T) @ B)
        return Factoring(inverse.T @ U, U.T @ (B.T @ weights), energies)
    seen = weights.T if output_gram is None else weights.T @ _raised(output_gram.to(**wide), floor)
    if gram is None:
        energies, V = _descending(seen @ weights)
        return Factoring(weights @ V, V.T.contiguous(), energies)
    S, inverse = root(gram.to(**wide), floor=floor)
    energies, V = _descending(S.T @ (seen @ weights) @ S)
    return Factoring(weights @ (S @ V), V.T @ inverse, energies)


def _raised(moment: torch.Tensor, floor: float) -> torch.Tensor:
    """The larger side is not taken apart; a multiple of the identity stands for the floor there."""
    raised = moment.clone()
    raised.diagonal().add_(floor * float(moment.diagonal().mean()))
    return raised


def _descending(A: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    values, vectors = eigh(A)
    return values.flip(0).clamp(min=0.0).cpu(), vectors.flip(1)
