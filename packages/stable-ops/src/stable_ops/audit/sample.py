"""A few values or rows of a tensor, the same ones every time, as numpy arrays.

numpy rather than torch: on a thousand values a call costs a tenth, and an audit makes many.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

VALUES = 1024
ROWS = 32
ROW_VALUES = 2**13
LONGEST_ROW = 2**16
# Masks are written as the smallest float32; a 16-bit model would write its own smallest number.
MASK = torch.finfo(torch.float32).max

Array = NDArray[Any]


class Sampler:
    """Draws positions at random, once for each shape: a fixed step would meet one column only."""

    def __init__(self) -> None:
        self._fractions = np.random.default_rng(0).random(VALUES)
        self._flat: dict[int, Array] = {}
        self._positions: dict[tuple[int, ...], tuple[Array, ...]] = {}

    def _of_length(self, n: int) -> Array:
        if n not in self._flat:
            self._flat[n] = (self._fractions * n).astype(np.int64)
        return self._flat[n]

    def _of_shape(self, shape: tuple[int, ...]) -> tuple[Array, ...]:
        if shape not in self._positions:
            self._positions[shape] = np.unravel_index(self._of_length(math.prod(shape)), shape)
        return self._positions[shape]

    def take(self, x: torch.Tensor, shape: Sequence[int] | None = None) -> Array:
        """At most 1024 values `(n,)` in float32 of x expanded to the shape, always at the same positions."""
        wide = x.detach() if shape is None or x.shape == shape else x.detach().expand(tuple(shape))
        if wide.dtype != torch.float32:
            wide = wide.float()
        if wide.numel() <= VALUES:
            return wide.reshape(-1).cpu().numpy().copy()
        if wide.device.type != "cpu":
            places = self._of_shape(tuple(wide.shape))
            return wide[tuple(torch.from_numpy(i).to(wide.device) for i in places)].cpu().numpy()
        if wide.is_contiguous():
            return wide.view(-1).numpy().take(self._of_length(wide.numel()))
        taken: Array = wide.numpy()[self._of_shape(tuple(wide.shape))]
        return taken

    def rows(self, x: torch.Tensor, dims: Sequence[int]) -> Array:
        """At most 32 rows `(m, n)` along dims in float32; of a row above 65,536 values as many, at random."""
        axes = sorted({d % x.ndim for d in dims}) if x.ndim else []
        moved = x.detach()
        if axes != list(range(x.ndim - len(axes), x.ndim)):
            moved = moved.movedim(axes, list(range(-len(axes), 0)))
        lead = moved.shape[: moved.ndim - len(axes)]
        count = lead.numel()
        length = x.numel() // max(1, count)
        kept = max(1, min(ROWS, ROW_VALUES // max(1, length)))
        picked = np.arange(count) if count <= kept else np.arange(kept) * count // kept
        if moved.is_contiguous():
            chosen = moved.view(count, length)[torch.from_numpy(picked).to(x.device)]
        elif lead:
            index = np.unravel_index(picked, tuple(lead))
            chosen = moved[tuple(torch.from_numpy(i).to(x.device) for i in index)]
        else:
            chosen = moved
        rows = chosen.reshape(len(picked), length)
        if length > LONGEST_ROW:
            places = np.random.default_rng(0).integers(length, size=LONGEST_ROW)
            rows = rows[:, torch.from_numpy(places).to(x.device)]
        taken: Array = rows.cpu().numpy()
        return taken if len(picked) < count else taken.copy()


def magnitude_range(x: torch.Tensor) -> tuple[float, bool]:
    """Largest finite magnitude of a float32 tensor, masks left out, and whether it holds an infinity."""
    low, high = torch.aminmax(x.detach())
    bounds = -float(low), float(high)
    if max(bounds) < MASK:
        return max(bounds), False
    magnitudes = x.detach().abs()
    kept = magnitudes[magnitudes < MASK]
    infinite = math.inf in bounds or bool(x.isinf().any())
    return float(kept.max()) if kept.numel() else 0.0, infinite


def smallest_magnitude(magnitudes: Array) -> float:
    """Smallest of float32 magnitudes that is not zero, infinite if all are."""
    smallest = float(magnitudes.min())
    if smallest == 0.0:
        smallest = float(magnitudes.min(where=magnitudes > 0, initial=math.inf))
    return smallest


def nonzero_magnitudes(values: Array) -> Array:
    """Magnitudes of the finite values that are not zero."""
    magnitudes = np.abs(values)
    kept: Array = magnitudes[(magnitudes > 0) & (magnitudes < MASK)]
    return kept
