"""Linear layers kept as thin factors. Importing this loads torch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import torch
from torch import nn
from torch.nn.functional import linear

from svd_compress.pivoting import rest

# One token (in,) to (out,), faster than the two products of torch; see `svd_compress.fusing`.
OneToken = Callable[[torch.Tensor], torch.Tensor]


def _one(call: OneToken, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    y = call(x.reshape(-1)).reshape(*x.shape[:-1], -1)
    return y if bias is None else y + bias


def _together(chosen: torch.Tensor, others: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """The outputs of both parts in their order: on a GPU in one pass, unless gradients are wanted."""
    if others.is_cuda and not others.requires_grad:
        # Some builds of torch for CUDA come without Triton.
        with suppress(ImportError):
            from svd_compress.kernels.placing import together

            return together(chosen, others, place)
    return torch.cat([chosen, others], dim=-1).index_select(-1, place)


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
        self.one_token: OneToken | None = None
        self.left = nn.Parameter(left, requires_grad=False)
        self.right = nn.Parameter(right, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    @property
    def rank(self) -> int:
        """Rows of `right`."""
        return self.right.shape[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) to (..., out); 2 rank (in + out) operations a token in place of 2 in out."""
        if self.one_token is not None and x.numel() == x.shape[-1]:
            return _one(self.one_token, x, self.bias)
        return linear(linear(x, self.right), self.left, self.bias)


class PivotedLinear(nn.Module):
    """`right` (rank, in) gives the outputs `pivots`; `left` (out - rank, rank) of those gives all others.

    Parameters
    ----------
    left, right, pivots
        See `svd_compress.pivoting.Pivoted`.
    bias
        (out,) or None.
    """

    def __init__(
        self,
        left: torch.Tensor,
        right: torch.Tensor,
        pivots: torch.Tensor,
        bias: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        self.one_token: OneToken | None = None
        self.left = nn.Parameter(left, requires_grad=False)
        self.right = nn.Parameter(right, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        out = len(left) + len(right)
        place = torch.empty(out, dtype=torch.int64, device=pivots.device)
        place[torch.cat([pivots, rest(pivots, out)])] = torch.arange(out, device=pivots.device)
        self.place: torch.Tensor
        self.register_buffer("place", place, persistent=False)

    @property
    def rank(self) -> int:
        """Rows of `right`."""
        return self.right.shape[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) to (..., out); 2 rank (in + out - rank) operations a token in place of 2 in out."""
        if self.one_token is not None and x.numel() == x.shape[-1]:
            return _one(self.one_token, x, self.bias)
        chosen = linear(x, self.right)
        y = _together(chosen, linear(chosen, self.left), self.place)
        return y if self.bias is None else y + self.bias
