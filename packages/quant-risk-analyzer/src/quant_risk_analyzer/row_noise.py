"""The rounding error of a weight as noise: what a row keeps of itself, and the variance beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

LIVE = 1e-6  # of the largest value of a spectrum: below, a rank-deficient weight has only rounding
HALVINGS = 40  # of the interval that holds a median: to 1e-12 of it


@dataclass(frozen=True)
class RowNoise:
    """Of each row: `kept`, the share of the row that is left, and `variances` of the independent rest."""

    kept: Array
    variances: Array


def row_noise(work: Array, error: Array) -> RowNoise:
    """Moments of the error over each row (rows, columns): its product with the row, its mean square.

    Both follow from the weights and the step: the error is the distance to the next multiple of the step.
    """
    sizes = (work**2).mean(1)
    kept = 1 + (error * work).mean(1) / np.maximum(sizes, np.finfo(np.float64).tiny)
    variances = np.maximum((error**2).mean(1) - (1 - kept) ** 2 * sizes, 0)
    return RowNoise(kept, variances)


def median_of_largest(below: Callable[[float], Array], high: float) -> float:
    """Median of the largest of independent numbers in [0, high]; `below(x)`: their chances to be less."""
    low = 0.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if below(middle).prod() > 0.5 else (middle, high)
    return high


def matrix(W: Any) -> Array:
    """A weight as float64 (out, in); further axes are inputs."""
    values = np.asarray(W.detach().cpu().double().numpy() if hasattr(W, "detach") else W, np.float64)
    return values.reshape(values.shape[0], -1)
