"""A plan and its measured rise, put into the words and numbers of the answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from svd_compress.allocation import Plan, stored
from svd_compress.bench import Bench
from svd_compress.evaluation import Losses, Rise
from svd_compress.folder import Factors, dense_bytes, own_tensors
from svd_compress.lowrank import break_even_rank
from svd_compress.results import CompressedLayer, Compression
from svd_compress.sources import source_warnings
from svd_compress.timing import Interval

# (shape, rank) to the measured speed-up.
Speeds = Mapping[tuple[tuple[int, int], int], Interval]


@dataclass(frozen=True)
class Proof:
    """What a plan was turned into and what was measured of it; `rise` is None where nothing was tried."""

    plan: Plan
    factors: Mapping[str, Factors]
    rise: Rise | None
    refined: bool = False
    healed_minutes: float = 0.0


def answer(
    bench: Bench,
    before: Losses,
    proof: Proof,
    other: Rise | None,
    *,
    budget: float | None,
    speeds: Speeds,
    faster_at: int,
) -> Compression:
    """The answer of `compress`, before anything is written."""
    plan, rise = proof.plan, proof.rise
    layers = tuple(_layer(bench, name, rank, speeds) for name, rank in plan.ranks.items())
    factored = sum(math.prod(layer.shape) for layer in layers if layer.rank is not None)
    selected = bench.plans[0].parameters
    saved = selected - plan.parameters
    infos = bench.checkpoint.tensors
    whole = sum(math.prod(infos[name].shape) for name in own_tensors(bench.checkpoint))
    return Compression(
        feasible=factored > 0,
        reason=_found(saved / selected, layers, rise) if factored else _nothing(bench, rise, budget),
        form=bench.layout,
        kept=plan.parameters / selected,
        kept_compressed_layers=1 - saved / factored if factored else None,
        kept_model=1 - saved / whole,
        perplexity_before=before.perplexity,
        perplexity_after=rise.after if rise else None,
        rise=rise.rise if rise else None,
        rise_low=rise.low if rise else None,
        rise_high=rise.high if rise else None,
        other_domain=other,
        bytes_before=dense_bytes(bench.checkpoint),
        bytes_after=None,
        layers=layers,
        refined=proof.refined,
        healed_minutes=proof.healed_minutes,
        faster_at=faster_at,
        evaluation_tokens=int(before.tokens.sum()),
        warnings=source_warnings(bench.checkpoint),
        output=None,
    )


def _layer(bench: Bench, name: str, rank: int | None, speeds: Speeds) -> CompressedLayer:
    layer = bench.prepared[name]
    m, n = layer.shape
    return CompressedLayer(
        name=name,
        shape=layer.shape,
        break_even_rank=break_even_rank(m, n),
        rank=rank,
        kept=1.0 if rank is None else stored(layer.shape, rank, bench.layout) / (m * n),
        predicted_loss_rise=0.0 if rank is None else float(layer.losses[rank]),
        verdict="leave dense" if rank is None else f"compress to rank {rank}",
        speed_up=None if rank is None else speeds.get((layer.shape, rank)),
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
        return (
            "every layer is left dense: no allowed rank saves enough, or none was measured to be faster "
            "than the dense layer"
        )
    if budget is None:
        return "every layer is left dense: no allowed rank keeps the energy asked for"
    if rise is None:
        return (
            "every layer is left dense: on calibration text the gentlest plan already raises the "
            f"perplexity by more than the budget of {budget:g}"
        )
    return (
        f"every layer is left dense: the gentlest plan tried raises the perplexity by {rise.rise:.3g} "
        f"({rise.low:.3g} to {rise.high:.3g}), and the budget is {budget:g}"
    )
