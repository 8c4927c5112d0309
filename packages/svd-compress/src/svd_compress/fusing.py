"""The overlapped kernel in a loaded model, where this device was measured to gain by it."""

from __future__ import annotations

from typing import Any

from torch import nn

from mfi_command import BadInput
from svd_compress.allocation import Layout
from svd_compress.latency import LatencyRow, measure


def fuse(model: nn.Module, *, rounds: int = 15) -> list[LatencyRow]:
    """Let factored layers use the kernel for one token where it is 1.15 times as fast as two calls.

    Parameters
    ----------
    model
        From `load_compressed`, moved to a GPU. A layer that gains nothing stays as it was. Call it again
        if the model is moved or its factors are replaced.
    rounds
        How often each shape and rank is timed.

    Returns
    -------
    list of LatencyRow
        What was measured, one row for each distinct shape, rank and form.

    Raises
    ------
    BadInput
        If the model is not on a GPU.
    """
    from svd_compress.factored import FactoredLinear, PivotedLinear

    layers = [m for m in model.modules() if isinstance(m, FactoredLinear | PivotedLinear)]
    if any(not layer.right.is_cuda for layer in layers):
        raise BadInput("the model is not on a GPU; the kernel runs there only: model.to('cuda')")
    rows: dict[Any, LatencyRow] = {}
    for layer in layers:
        layout: Layout = "pivoted" if isinstance(layer, PivotedLinear) else "two"
        out = len(layer.left) + (layer.rank if layout == "pivoted" else 0)
        shape, dtype = (out, layer.right.shape[1]), str(layer.right.dtype).removeprefix("torch.")
        key = (shape, layer.rank, layout, dtype)
        if key not in rows:
            (rows[key],) = measure(
                shape,
                [layer.rank],
                1,
                layout=layout,
                device=str(layer.right.device),
                dtype=dtype,
                rounds=rounds,
            )
        layer.one_token = _kernel(layer, out) if rows[key].kernel == "fused" else None
    return list(rows.values())


def _kernel(layer: Any, out: int) -> Any:
    from svd_compress.kernels.gemv import LowRankGemv
    from svd_compress.pivoting import rest

    left, right = layer.left.detach().contiguous(), layer.right.detach().contiguous()
    if not hasattr(layer, "place"):
        return LowRankGemv(left, right)
    pivots = layer.place.argsort()[: layer.rank]
    return LowRankGemv(left, right, pivots=pivots.int(), rest=rest(pivots, out).int())
