"""A few values or rows of a tensor, the same ones every time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

VALUES = 1024
ROWS = 64
ROW_VALUES = 2**14
# Masks are written as the smallest float32; a 16-bit model would write its own smallest number.
MASK = torch.finfo(torch.float32).max


class Sampler:
    """Draws positions at random, once for each shape: a fixed step would meet one column only."""

    def __init__(self) -> None:
        self._generator = torch.Generator().manual_seed(0)
        self._positions: dict[tuple[int, ...], tuple[torch.Tensor, ...]] = {}

    def _of(self, shape: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
        if shape not in self._positions:
            self._positions[shape] = tuple(
                torch.randint(n, (VALUES,), generator=self._generator) for n in shape
            )
        return self._positions[shape]

    def take(self, x: torch.Tensor, shape: Sequence[int] | None = None) -> torch.Tensor:
        """At most 1024 values `(n,)`, on the CPU, of x expanded to the shape."""
        wide = x.detach() if shape is None else x.detach().expand(tuple(shape))
        if wide.numel() <= VALUES:
            return wide.reshape(-1).clone().cpu()
        return wide[tuple(i.to(wide.device) for i in self._of(tuple(wide.shape)))].cpu()

    def rows(self, x: torch.Tensor, dims: Sequence[int]) -> torch.Tensor:
        """At most 64 rows `(m, n)` along dims, on the CPU, in float64."""
        axes = sorted({d % x.ndim for d in dims}) if x.ndim else []
        moved = x.detach().movedim(axes, list(range(-len(axes), 0))) if axes else x.detach()
        lead = moved.shape[: moved.ndim - len(axes)]
        count = lead.numel()
        length = x.numel() // max(1, count)
        kept = max(1, min(ROWS, ROW_VALUES // max(1, length)))
        picked = torch.arange(count) if count <= kept else torch.arange(kept) * count // kept
        index = tuple(i.to(x.device) for i in torch.unravel_index(picked, lead)) if lead else ()
        chosen = moved[index] if lead else moved
        return chosen.reshape(len(picked) if lead else 1, -1).cpu().double()


def largest_magnitude(x: torch.Tensor) -> float:
    """Largest finite magnitude, masks left out."""
    low, high = torch.aminmax(x.detach())
    largest = max(-float(low), float(high))
    if largest < MASK:
        return largest
    magnitudes = x.detach().abs()
    kept = magnitudes[magnitudes < MASK]
    return float(kept.max()) if kept.numel() else 0.0


def has_infinity(x: torch.Tensor) -> bool:
    """Whether a float32 tensor holds an infinity."""
    if x.dtype != torch.float32 or not x.numel():
        return False
    low, high = torch.aminmax(x.detach())
    return not (math.isfinite(float(low)) and math.isfinite(float(high))) and bool(x.isinf().any())


def smallest_magnitude(values: torch.Tensor) -> float:
    """Smallest magnitude that is not zero, infinite if all are; cheaper than picking them out."""
    magnitudes = values.abs()
    return float(magnitudes.where(magnitudes > 0, math.inf).min())


def nonzero_magnitudes(values: torch.Tensor) -> torch.Tensor:
    """Magnitudes of the finite values that are not zero."""
    magnitudes = values.abs()
    return magnitudes[(magnitudes > 0) & (magnitudes < MASK)]
