"""The step of the grid: from the largest weight of a block, or searched for the least squared error."""

from __future__ import annotations

from typing import Any, Literal

from mfi_command import BadInput
from quant_risk_analyzer.formats import (
    Granularity,
    NumberFormat,
    format_named,
    namespace,
    to_blocks,
)
from quant_risk_analyzer.grids import Grid, absmax_grid, scaled_grid

Method = Literal["absmax", "mse"]


def search_scale(
    W: Any,
    format: str | NumberFormat,
    *,
    granularity: Granularity = "channel",
    method: Method = "mse",
    points: int = 100,
    smallest: float = 0.2,
) -> Any:
    r"""Steps of the symmetric grid for each block of a weight.

    "absmax" is :math:`s_0 = \max|w| / (2^{b-1}-1)`; "mse" tries `points` fractions of it, from `smallest` to
    1, and keeps for each block the one with the least :math:`\sum (w - \hat w)^2`. The last point is 1: the
    answer is never worse than absmax.

    Parameters
    ----------
    W
        Weight (out, in), numpy array or torch tensor, floating and finite.
    format, granularity
        As for `quantize`.
    method
        "absmax" or "mse".
    points
        Points of the grid search, at least 2.
    smallest
        Smallest fraction of absmax to try, in (0, 1).

    Returns
    -------
    array (rows, blocks)
        Steps, in the units of `W`; pass them to `quantize(..., scales=...)`.

    Raises
    ------
    BadInput
        As `quantize`, or an unknown method, fewer than two points, a fraction outside (0, 1).

    Notes
    -----
    Cost O(points * out * in) time, O(out * in) memory.
    """
    from quant_risk_analyzer.quantizers import checked

    kind = format_named(format) if isinstance(format, str) else format
    if method not in ("absmax", "mse"):
        raise BadInput(f"unknown scale search {method!r}: expected absmax or mse")
    if points < 2 or not 0 < smallest < 1:
        raise BadInput(f"points={points}, smallest={smallest}: expected points >= 2 and 0 < smallest < 1")
    blocks = to_blocks(checked(W), granularity)
    start = absmax_grid(blocks, kind, symmetric=True)
    if method == "absmax":
        return start.scale[..., 0]
    return _least_squares(blocks, start, kind, points=points, smallest=smallest)[..., 0]


def _least_squares(blocks: Any, start: Grid, kind: NumberFormat, *, points: int, smallest: float) -> Any:
    xp = namespace(blocks)
    # In units of the first step: the squares of tiny or huge weights leave float32.
    blocks = blocks / start.scale
    unit = scaled_grid(xp.ones_like(start.scale), kind)
    best, least = unit.scale, _squared_error(blocks, unit)
    for index in range(points - 1):
        fraction = smallest + (1 - smallest) * index / (points - 1)
        grid = scaled_grid(unit.scale * fraction, kind)
        error = _squared_error(blocks, grid)
        better = error < least
        best, least = xp.where(better, grid.scale, best), xp.where(better, error, least)
    return xp.where(start.scale * best > 0, start.scale * best, xp.ones_like(best))


def _squared_error(blocks: Any, grid: Grid) -> Any:
    return ((blocks - grid.nearest(blocks)) ** 2).sum(-1)[..., None]
