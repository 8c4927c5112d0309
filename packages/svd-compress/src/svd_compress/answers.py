"""A plan and its measured rise, put into the words and numbers of the answer."""

from __future__ import annotations

import math

from svd_compress.allocation import Plan
from svd_compress.bench import Bench
from svd_compress.evaluation import Losses, Rise
from svd_compress.folder import stored_dtype
from svd_compress.lowrank import break_even_rank
from svd_compress.results import CompressedLayer, Compression


def answer(
    bench: Bench, before: Losses, plan: Plan, rise: Rise | None, *, budget: float | None
) -> Compression:
    """The answer of `compress`, before anything is written."""
    layers = tuple(_layer(bench, name, rank) for name, rank in plan.ranks.items())
    factored = sum(math.prod(layer.shape) for layer in layers if layer.rank is not None)
    selected = bench.plans[0].parameters
    saved = selected - plan.parameters
    whole = sum(math.prod(info.shape) for info in bench.checkpoint.tensors.values())
    return Compression(
        feasible=factored > 0,
        reason=_found(saved / selected, layers, rise) if factored else _nothing(bench, rise, budget),
        kept=plan.parameters / selected,
        kept_compressed_layers=1 - saved / factored if factored else None,
        kept_model=1 - saved / whole,
        perplexity_before=before.perplexity,
        perplexity_after=rise.after if rise else None,
        rise=rise.rise if rise else None,
        rise_low=rise.low if rise else None,
        rise_high=rise.high if rise else None,
        bytes_before=_dense_bytes(bench),
        bytes_after=None,
        layers=layers,
        evaluation_tokens=int(before.tokens.sum()),
        output=None,
    )


def _layer(bench: Bench, name: str, rank: int | None) -> CompressedLayer:
    shape = bench.prepared[name].shape
    m, n = shape
    return CompressedLayer(
        name=name,
        shape=shape,
        break_even_rank=break_even_rank(m, n),
        rank=rank,
        kept=1.0 if rank is None else rank * (m + n) / (m * n),
        predicted_loss_rise=0.0 if rank is None else float(bench.prepared[name].losses[rank]),
        verdict="leave dense" if rank is None else f"compress to rank {rank}",
    )


def _found(saved: float, layers: tuple[CompressedLayer, ...], rise: Rise | None) -> str:
    count = sum(layer.rank is not None for layer in layers)
    assert rise is not None
    return (
        f"{count} of {len(layers)} layers are factored and {saved:.1%} of the layers' parameters saved; "
        f"perplexity {rise.before:.2f} -> {rise.after:.2f}, a rise of {rise.rise:.2f} "
        f"({rise.low:.2f} to {rise.high:.2f})"
    )


def _nothing(bench: Bench, rise: Rise | None, budget: float | None) -> str:
    if len(bench.plans) == 1:
        return "every layer is left dense: no allowed rank below break-even saves enough"
    if budget is None:
        return "every layer is left dense: no allowed rank below break-even keeps the energy asked for"
    if rise is None:
        return (
            "every layer is left dense: on calibration text the gentlest plan already raises the "
            f"perplexity by more than the budget of {budget:g}"
        )
    return (
        f"every layer is left dense: the gentlest plan tried raises the perplexity by {rise.rise:.3g} "
        f"({rise.low:.3g} to {rise.high:.3g}), and the budget is {budget:g}"
    )


def _dense_bytes(bench: Bench) -> int:
    """Bytes of all weights in the dtype they would be written in."""
    infos = bench.checkpoint.tensors
    return sum(
        math.prod(info.shape) * stored_dtype(bench.checkpoint, name).itemsize for name, info in infos.items()
    )
