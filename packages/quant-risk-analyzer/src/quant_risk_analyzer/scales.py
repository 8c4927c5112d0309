"""The step of the grid: from the largest weight of a block, or searched for the least squared error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import numpy as np

from mfi_command import BadInput
from quant_risk_analyzer.formats import (
    Granularity,
    NumberFormat,
    block_length,
    format_named,
    integer_format,
    namespace,
    to_blocks,
)
from quant_risk_analyzer.grids import absmax_grid, reach, scaled_grid
from quant_risk_analyzer.newton import newton_steps

Method = Literal["absmax", "percentile", "mse", "newton"]
Array = np.ndarray[Any, Any]
BATCH = 2**15  # numbers at a time: they and two temporary copies stay in a core's cache


def search_scale(
    W: Any,
    format: str | NumberFormat,
    *,
    granularity: Granularity = "channel",
    method: Method = "mse",
    points: int = 100,
    smallest: float = 0.2,
    percentile: float = 99.9,
    importance: Any | None = None,
) -> Any:
    r"""Steps of the symmetric grid for each block of a weight.

    "absmax" is :math:`s_0 = \max|w| / m` with the largest number m of the format; "percentile" puts a
    percentile of :math:`|w|` in place of the maximum and clips the rest. "mse" tries `points` fractions of
    :math:`s_0`, from `smallest` to 1, and keeps for each block the one with the least
    :math:`\sum h (w - \hat w)^2`. "newton" minimises the smooth model of that error by Newton's method and
    refines around the minimum, in about a twelfth of the time; integers only. The answers of "mse" and
    "newton" are never worse than "absmax".

    Parameters
    ----------
    W
        Weight (out, in), numpy array or torch tensor, floating and finite.
    format, granularity
        As for `quantize`; formats with scales of their own (MX, NVFP4, q4_k) have nothing to search.
    method
        "absmax", "percentile", "mse" or "newton".
    points
        Points of the grid search, at least 2.
    smallest
        Smallest fraction of absmax to try, in (0, 1).
    percentile
        In (0, 100].
    importance
        Weights h of the squared errors by input channel (in,): the mean square of the activations makes it
        the error of the layer's output for uncorrelated inputs. 1 without.

    Returns
    -------
    array (rows, blocks)
        Steps, in the units of `W`; pass them to `quantize(..., scales=...)`.

    Raises
    ------
    BadInput
        As `quantize`, or an unknown method, fewer than two points, a fraction or percentile out of range,
        importance of another length or negative.

    Notes
    -----
    Cost O(points * out * in) for "mse", eight to twelve passes for "newton"; O(out * in) memory. Both work
    through the weight in parts that stay in the cache. Sources: Sakr et al., "Optimal Clipping and
    Magnitude-aware Differentiation", ICML 2022, for the Newton step.
    """
    from quant_risk_analyzer.quantizers import checked

    kind = format_named(format) if isinstance(format, str) else format
    if method not in get_args(Method):
        raise BadInput(f"unknown scale search {method!r}: expected {', '.join(get_args(Method))}")
    if points < 2 or not 0 < smallest < 1:
        raise BadInput(f"points={points}, smallest={smallest}: expected points >= 2 and 0 < smallest < 1")
    if not 0 < percentile <= 100:
        raise BadInput(f"percentile={percentile}: expected a number above 0, at most 100")
    reach(kind)  # refuses a format without free scales
    if method == "newton":
        integer_format(kind, "the Newton search")
    work = checked(W)
    if method == "absmax":
        return absmax_grid(to_blocks(work, granularity), kind).scale[..., 0]
    values = work if isinstance(work, np.ndarray) else work.cpu().numpy()
    blocks = to_blocks(values, granularity)
    flat = blocks.reshape(-1, blocks.shape[-1])
    steps = np.empty(len(flat), flat.dtype)
    for rows, weights in _batches(flat, _spread(importance, values, granularity)):
        part = flat[rows]
        if method == "percentile":
            steps[rows] = _percentile_steps(part, kind, percentile)
        elif method == "newton":
            steps[rows] = newton_steps(part, integer_format(kind, "the Newton search").limit, weights)
        else:
            steps[rows] = _grid_steps(part, kind, weights, points, smallest)
    found = np.where(steps > 0, steps, 1).reshape(blocks.shape[:2])
    return found if isinstance(W, np.ndarray) else namespace(W).as_tensor(found, device=W.device)


def _spread(importance: Any | None, values: Array, granularity: Granularity) -> Array | None:
    """Importance by input channel, cut as the weight is: (blocks of a row, length)."""
    if importance is None:
        return None
    h = np.asarray(importance, values.dtype)
    inputs = values.reshape(values.shape[0], -1).shape[1] if values.ndim > 1 else values.size
    if h.shape != (inputs,) or not np.isfinite(h).all() or (h < 0).any():
        raise BadInput(f"importance of shape {h.shape}: expected ({inputs},), finite and not negative")
    if granularity == "tensor":
        return np.broadcast_to(h, (values.size // inputs, inputs)).reshape(1, -1)
    length = block_length(granularity, inputs)
    cut: Array = to_blocks(h[None], length)[0]
    return cut


def _batches(flat: Array, weights: Array | None) -> Iterator[tuple[slice, Array | None]]:
    """Slices of the blocks with the importance of each; whole rows of the weight where there is any."""
    per_row = 1 if weights is None else len(weights)
    count = max(1, BATCH // (flat.shape[1] * per_row)) * per_row
    for start in range(0, len(flat), count):
        rows = slice(start, min(start + count, len(flat)))
        repeated = None
        if weights is not None:
            repeated = np.tile(weights, ((rows.stop - rows.start) // per_row, 1))
        yield rows, repeated


def _percentile_steps(part: Array, kind: NumberFormat, percentile: float) -> Array:
    found: Array = (np.percentile(np.abs(part), percentile, axis=1) / reach(kind)).astype(part.dtype)
    return found


def _grid_steps(
    part: Array, kind: NumberFormat, weights: Array | None, points: int, smallest: float
) -> Array:
    start: Array = absmax_grid(part[:, None], kind).scale[:, 0]
    # In units of the first step: the squares of tiny or huge weights leave float32.
    scaled = part / start
    best = np.ones_like(start)
    least = np.full_like(start, np.inf)
    for index in reversed(range(points)):
        fraction = smallest + (1 - smallest) * index / (points - 1)
        step = np.full_like(start, fraction)
        error = scaled - scaled_grid(step, kind).nearest(scaled)
        loss = np.vecdot(error, error if weights is None else error * weights)[:, None]
        best, least = np.where(loss < least, step, best), np.minimum(loss, least)
    steps: Array = (start * best)[:, 0]
    return steps
