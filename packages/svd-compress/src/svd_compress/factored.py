"""A linear layer kept as two thin factors. Importing this loads torch."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import linear


class FactoredLinear(nn.Module):
    """y = left (right x) + bias, for `left` (out, rank) and `right` (rank, in).

    Parameters
    ----------
    left, right
        The factors; both of one dtype.
    bias
        (out,) or None.
    """

    def __init__(self, left: torch.Tensor, right: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        super().__init__()
        self.left = nn.Parameter(left, requires_grad=False)
        self.right = nn.Parameter(right, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    @property
    def rank(self) -> int:
        """Columns of `left`."""
        return self.left.shape[1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) to (..., out); 2 rank (in + out) operations a token in place of 2 in out."""
        return linear(linear(x, self.right), self.left, self.bias)
