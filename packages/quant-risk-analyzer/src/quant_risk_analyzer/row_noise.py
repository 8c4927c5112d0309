"""The rounding error of a weight as noise: what a row keeps of itself, and the variance beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


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


def matrix(W: Any) -> Array:
    """A weight as float64 (out, in); further axes are inputs."""
    values = np.asarray(W.detach().cpu().double().numpy() if hasattr(W, "detach") else W, np.float64)
    return values.reshape(values.shape[0], -1)
