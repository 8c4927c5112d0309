"""Other people's factorings, to stand beside ours: plain, ASVD-style scaling, SVD-LLM whitening."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from svd_compress.factoring import Factoring, factor

if TYPE_CHECKING:
    from svd_compress.gradients import Moments

# The exponent that ASVD recommends.
ALPHA = 0.5


def plain(W: torch.Tensor) -> Factoring:
    """Singular value decomposition of the weights alone."""
    return factor(W, None, floor=0.0)


def scaled(W: torch.Tensor, moments: Moments, *, alpha: float = ALPHA) -> Factoring:
    r"""ASVD: columns scaled by $(E|x_j|)^\alpha$ before the decomposition, and back after it.

    Source: Z. Yuan et al., ASVD (arXiv 2312.05821), section 3.2.
    """
    scale = moments.magnitudes.double().clamp(min=1e-12) ** alpha
    inner = factor(W.double() * scale, None, floor=0.0)
    return Factoring(inner.left, inner.right / scale, inner.energies)


def whitened(W: torch.Tensor, moments: Moments, *, floor: float = 1e-8) -> Factoring:
    """SVD-LLM (arXiv 2403.07378): whitened by the inputs, with a square root that cannot fail."""
    return factor(W, moments.inputs, floor=floor)


def uniform_rank(shape: tuple[int, int], keep: float) -> int:
    """The rank that keeps the share `keep` of the parameters in two factors, rounded down as they do."""
    m, n = shape
    return max(1, int(keep * m * n / (m + n)))
