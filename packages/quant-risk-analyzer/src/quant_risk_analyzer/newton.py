"""Steps with little squared error in a few passes: Newton's method, then a refinement around its answer."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
# Lowest and highest fraction of the smooth minimum to try, and how many. A short block has a jagged error
# with many local minima, a long one a smooth error with one.
LONG = 512
TRIES_SHORT, TRIES_LONG = (0.92, 1.14, 4), (0.93, 1.08, 3)
TRIES_COARSE = (0.92, 1.14, 3)  # of a grid of few points: its error is less jagged
COARSE = 4  # largest code of such a grid
SMALLEST = 0.2  # of the step of absmax


def newton_steps(part: Array, limit: int, weights: Array | None = None) -> Array:
    r"""Step for each row of `part` (rows, n) on the grid `-limit ... limit`.

    With a clipping point c, rounding costs :math:`(c/m)^2/12` for each of the weights inside and clipping
    :math:`(|w| - c)^2` outside. Newton's method finds the minimum of that sum, which is convex. The true
    error is piecewise: around the minimum a few steps s are tried, and each gives codes q, for which

    .. math:: s^* = \frac{\sum h\,|w|\,q}{\sum h\,q^2}, \qquad
              \sum h\,(|w| - s^* q)^2 = \sum h\,w^2 - \frac{(\sum h\,|w|\,q)^2}{\sum h\,q^2}

    is the best step and its error. The largest :math:`(\sum h|w|q)^2 / \sum h q^2` wins; the codes of absmax
    are among those tried, so the answer is not worse, and the winner's own codes are tried last.

    Parameters
    ----------
    part
        Floating, finite.
    limit
        m, the largest code.
    weights
        h, shape of `part`, not negative.

    Returns
    -------
    array (rows,)
        Positive; 1 for a row of zeros.
    """
    size = np.abs(part)
    n = part.shape[1]
    first = size.max(1) / part.dtype.type(limit)
    first[first == 0] = 1
    size *= (1 / first)[:, None]  # the squares of tiny or huge weights leave float32
    codes = np.empty_like(size)
    weighted = size if weights is None else size * weights
    low, high, count = TRIES_LONG if n >= LONG else TRIES_COARSE if limit < COARSE else TRIES_SHORT
    centre = np.clip(_clipping_point(size, limit, codes) / limit, SMALLEST, 1).astype(part.dtype)
    best = np.ones_like(first)
    gain = np.full_like(first, -1)
    for fraction in (None, *np.linspace(low, high, count, dtype=part.dtype), None):
        step = best if fraction is None else np.minimum(centre * fraction, 1)
        np.rint(np.multiply(size, (1 / step)[:, None], out=codes), out=codes)
        np.minimum(codes, limit, out=codes)
        along = np.vecdot(weighted, codes)
        square = np.vecdot(codes if weights is None else codes * weights, codes)
        square[square == 0] = 1
        found = along / square
        along *= found
        better = (along > gain) & (found > 0)
        np.copyto(best, found, where=better)
        np.copyto(gain, along, where=better)
    steps: Array = best * first
    return steps


def _clipping_point(size: Array, limit: int, excess: Array) -> Array:
    """Two Newton steps on the smooth model; the number outside is estimated from an exponential tail."""
    n = size.shape[1]
    ones = np.ones(n, size.dtype)
    inside = n / (12 * limit**2)
    # Left of the minimum, where the slope is concave and Newton's method cannot overshoot; and inside, since
    # with nothing beyond the point the model would send it to 0.
    point: Array = np.minimum(
        np.sqrt(np.vecdot(size, size) / n) * (1.5 if limit < COARSE else 2.2), 0.8 * limit
    )
    for _ in range(2):
        np.subtract(size, point[:, None], out=excess)
        np.maximum(excess, 0, out=excess)
        total = np.vecdot(excess, ones)
        outside = 2 * total**2 / np.maximum(np.vecdot(excess, excess), np.finfo(size.dtype).tiny)
        point = point - (point * inside - total) / (inside + outside)
    return point
