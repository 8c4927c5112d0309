"""The Poisson law where it matters."""

from __future__ import annotations

import numpy as np

_WIDTHS = 12.0
"""Standard deviations that are kept: the rest is below 1e-30."""


def poisson_window(mean: float) -> tuple[int, np.ndarray]:
    """The first index and the probabilities of Poisson(mean) where they matter."""
    spread = _WIDTHS * mean**0.5 + 30
    first, last, mode = max(0, int(mean - spread)), int(mean + spread), int(mean)
    above = np.cumprod(mean / np.arange(mode + 1, last + 1))
    below = np.cumprod(np.arange(mode, first, -1) / mean)[::-1] if mean > 0 else np.empty(0)
    weights = np.concatenate([below, [1.0], above])
    return first, weights / weights.sum()
