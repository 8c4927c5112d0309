"""Reading parameters and gradients: lists of arrays of one shape each, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mfi_command import BadInput
from stable_ops.arrays import Float64


def read_step(
    parameters: Sequence[Any], gradients: Sequence[Any], state: list[Float64] | None
) -> tuple[list[Float64], list[Float64]]:
    """Both as float64 arrays; `state` is what an earlier step left, one array a parameter.

    Raises
    ------
    BadInput
        Lengths or shapes that differ between the three.
    """
    values = [np.asarray(p, dtype=np.float64) for p in parameters]
    slopes = [np.asarray(g, dtype=np.float64) for g in gradients]
    shapes = [v.shape for v in values]
    if shapes != [g.shape for g in slopes]:
        raise BadInput(
            f"parameters have shapes {shapes}, gradients {[g.shape for g in slopes]}: pass the same"
        )
    if state is not None and shapes != [s.shape for s in state]:
        raise BadInput(f"the optimizer holds shapes {[s.shape for s in state]}, got {shapes}: use a new one")
    return values, slopes


def require_range(name: str, value: float, low: float, high: float = float("inf")) -> None:
    """BadInput unless low <= value < high."""
    if not low <= value < high:
        raise BadInput(f"{name} must lie in [{low:g}, {high:g}), got {value}")
