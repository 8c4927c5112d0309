"""The outputs of a pivoted layer put in their order in one pass over both parts."""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, import-untyped"

from __future__ import annotations

import torch
import triton
import triton.language as tl

# Tokens and outputs of a program.
TOKENS, OUTPUTS, WARPS = 4, 1024, 4


@triton.jit
def _place(
    chosen_ptr, others_ptr, place_ptr, y_ptr, tokens, m, r, TOKENS: tl.constexpr, OUTPUTS: tl.constexpr
):
    """y[t, j] = [chosen, others][t, place[j]]."""
    columns = tl.program_id(1) * OUTPUTS + tl.arange(0, OUTPUTS)
    rows = (tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)).to(tl.int64)[:, None]
    place = tl.load(place_ptr + columns, mask=columns < m, other=0)[None, :]
    inside = (rows < tokens) & (columns < m)[None, :]
    pivot = place < r
    chosen = tl.load(chosen_ptr + rows * r + place, mask=inside & pivot, other=0.0)
    others = tl.load(others_ptr + rows * (m - r) + place - r, mask=inside & (place >= r), other=0.0)
    tl.store(y_ptr + rows * m + columns[None, :], tl.where(pivot, chosen, others), mask=inside)


def together(chosen: torch.Tensor, others: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """`cat([chosen, others], -1)[..., place]` without the copy between.

    Parameters
    ----------
    chosen, others
        (..., r) and (..., m - r), contiguous, of one dtype, on one GPU.
    place
        (m,) integers: where in the two parts each output is.
    """
    r, m = chosen.shape[-1], len(place)
    y = chosen.new_empty(*chosen.shape[:-1], m)
    tokens = y.numel() // m
    grid = (triton.cdiv(tokens, TOKENS), triton.cdiv(m, OUTPUTS))
    # Triton launches on the current device, which need not be the tensors'.
    with torch.cuda.device_of(y):  # type: ignore[no-untyped-call]
        _place[grid](chosen, others, place, y, tokens, m, r, TOKENS=TOKENS, OUTPUTS=OUTPUTS, num_warps=WARPS)
    return y
