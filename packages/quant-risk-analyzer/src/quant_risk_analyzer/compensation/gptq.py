"""GPTQ: each column is rounded, and those that follow make up for its error."""

from __future__ import annotations

from typing import Any

import numpy as np

from mfi_command import BadInput
from quant_risk_analyzer.compensation.inputs import checked_pair
from quant_risk_analyzer.formats import Granularity, NumberFormat, format_named, to_blocks
from quant_risk_analyzer.grids import scaled_grid
from quant_risk_analyzer.scales import Method, search_scale

Array = np.ndarray[Any, Any]


def gptq(
    W: Any,
    moment: Any,
    format: str | NumberFormat,
    *,
    granularity: Granularity = "channel",
    act_order: bool = True,
    damping: float = 0.01,
    scales: Method = "absmax",
) -> Array:
    r"""Round a weight so that the layer's output changes little.

    With :math:`H = \mathrm E[x x^T]` and U the upper Cholesky factor of its inverse, column j is rounded and
    the columns k after it take

    .. math:: w_k \leftarrow w_k - (w_j - \hat w_j)\, U_{jk} / U_{jj}.

    Parameters
    ----------
    W
        Weight (out, in).
    moment
        Second moment of the inputs (in, in), as `checkpoint_lens.second_moments` gives.
    format, granularity
        As for `quantize`; a format with free scales.
    act_order
        Columns with large inputs first, while others can still make up for them. Groups stay those of the
        stored order.
    damping
        Added to the diagonal, as a part of its mean.
    scales
        How the steps are found from the original weight: any method of `search_scale`.

    Returns
    -------
    array (out, in), float64
        Points of the grid.

    Raises
    ------
    BadInput
        As `quantize`, a moment that does not fit or is not symmetric, damping that is not positive.

    Notes
    -----
    Inputs that are always zero keep their rounding to nearest: no output sees them. Cost O(in^3 + out in^2).

    Source: Frantar et al., "GPTQ", ICLR 2023, algorithm 1 (with the steps fixed before, "static groups").
    """
    kind = format_named(format) if isinstance(format, str) else format
    weight, H = checked_pair(W, moment)
    if not damping > 0:
        raise BadInput(f"damping={damping}: expected a positive number")
    steps = np.asarray(search_scale(weight, kind, granularity=granularity, method=scales), np.float64)
    spread = _by_column(weight, steps, granularity)
    dead = np.diag(H) == 0
    H = H + np.diag(np.where(dead, 1.0, 0.0))
    H[np.diag_indices_from(H)] += damping * float(np.diag(H)[~dead].mean() if (~dead).any() else 1.0)
    order = np.argsort(-np.diag(H), kind="stable") if act_order else np.arange(len(H))
    inverse = np.linalg.inv(H[np.ix_(order, order)])
    upper = np.linalg.cholesky((inverse + inverse.T) / 2).T
    left = weight[:, order].copy()
    rounded = np.empty_like(left)
    for j in range(len(order)):
        grid = scaled_grid(spread[:, order[j], None, None], kind)
        rounded[:, j] = grid.nearest(left[:, j, None, None])[:, 0, 0]
        error = (left[:, j] - rounded[:, j]) / upper[j, j]
        left[:, j + 1 :] -= error[:, None] * upper[j, j + 1 :]
    found: Array = np.empty_like(rounded)
    found[:, order] = rounded
    return found


def _by_column(weight: Array, steps: Array, granularity: Granularity) -> Array:
    """The step of each weight, (out, in)."""
    blocks = to_blocks(weight, granularity)
    whole = np.broadcast_to(steps[..., None], blocks.shape)
    if granularity == "tensor":
        return whole.reshape(weight.shape)
    return whole.reshape(len(weight), -1)[:, : weight.shape[1]]
