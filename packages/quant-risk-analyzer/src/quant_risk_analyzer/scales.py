"""The step of the grid: from the largest weight of a block, or searched for the least squared error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from mfi_command import BadInput
from quant_risk_analyzer.formats import Granularity, IntegerFormat, format_named, namespace, to_blocks

Method = Literal["absmax", "mse"]


@dataclass(frozen=True)
class Grid:
    """Equally spaced points `(code - zero) * scale`, one grid per block; arrays (rows, blocks, 1)."""

    scale: Any
    zero: Any | None
    low: int
    high: int

    def encode(self, blocks: Any) -> Any:
        """Nearest codes, as floating numbers, shape of `blocks`."""
        xp = namespace(blocks)
        shifted = blocks / self.scale if self.zero is None else blocks / self.scale + self.zero
        return xp.clip(xp.round(shifted), self.low, self.high)

    def decode(self, codes: Any) -> Any:
        """The values that codes stand for."""
        return (codes if self.zero is None else codes - self.zero) * self.scale


def absmax_grid(blocks: Any, kind: IntegerFormat, *, symmetric: bool) -> Grid:
    """The grid that just reaches the largest weight of each block: nothing is clipped."""
    xp = namespace(blocks)
    if symmetric:
        return Grid(_positive(_amax(xp.abs(blocks)) / kind.limit), None, -kind.limit, kind.limit)
    top, bottom = xp.clip(_amax(blocks), 0, None), xp.clip(-_amax(-blocks), None, 0)
    # Divided before subtracting: the range of 3e38 and -3e38 is beyond float32.
    scale = _positive(top / kind.steps - bottom / kind.steps)
    return Grid(scale, xp.clip(xp.round(-bottom / scale), 0, kind.steps), 0, kind.steps)


def grid_of(blocks: Any, scales: Any, kind: IntegerFormat) -> Grid:
    """The symmetric grid with given steps, shape (rows, blocks)."""
    xp = namespace(blocks)
    if tuple(scales.shape) != tuple(blocks.shape[:2]):
        raise BadInput(f"scales have shape {tuple(scales.shape)}: expected {tuple(blocks.shape[:2])}")
    if not bool((scales > 0).all()) or not bool(xp.isfinite(scales).all()):
        raise BadInput("scales must be positive and finite")
    return Grid(scales[..., None], None, -kind.limit, kind.limit)


def search_scale(
    W: Any,
    format: str | IntegerFormat,
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
    return _least_squares(blocks, start, points=points, smallest=smallest)[..., 0]


def _least_squares(blocks: Any, start: Grid, *, points: int, smallest: float) -> Any:
    xp = namespace(blocks)
    # In units of the first step: the squares of tiny or huge weights leave float32.
    blocks = blocks / start.scale
    unit = Grid(xp.ones_like(start.scale), None, start.low, start.high)
    best, least = unit.scale, _squared_error(blocks, unit)
    for index in range(points - 1):
        fraction = smallest + (1 - smallest) * index / (points - 1)
        grid = Grid(unit.scale * fraction, None, start.low, start.high)
        error = _squared_error(blocks, grid)
        better = error < least
        best, least = xp.where(better, grid.scale, best), xp.where(better, error, least)
    return _positive(start.scale * best)


def _squared_error(blocks: Any, grid: Grid) -> Any:
    return ((blocks - grid.decode(grid.encode(blocks))) ** 2).sum(-1)[..., None]


def _amax(values: Any) -> Any:
    xp = namespace(values)
    return xp.amax(values, -1)[..., None]


def _positive(scale: Any) -> Any:
    """A block of zeros, or of numbers so small that the step underflows, gets the step 1."""
    xp = namespace(scale)
    return xp.where(scale > 0, scale, xp.ones_like(scale))
