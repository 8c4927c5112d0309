"""Methods beside each other: one model, one protocol, the same share of parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mfi_command import BadInput
from svd_compress import baselines
from svd_compress.allocation import Layout, all_dense, frontier
from svd_compress.bench import Bench
from svd_compress.evaluation import Rise, paired_rise
from svd_compress.folder import Factors
from svd_compress.gradients import Moments, moments
from svd_compress.knapsack import Bounds, solve
from svd_compress.preparation import all_options

if TYPE_CHECKING:
    from svd_compress.factoring import Factoring

MULTIPLE, MIN_SAVING = 8, 0.0


@dataclass(frozen=True)
class MethodRow:
    """One method at one share of the selected layers' parameters, on both texts.

    `ranks` says how they were chosen, `layout` how factors are kept, `kept` what share of the parameters is
    left.
    """

    method: str
    ranks: str
    layout: str
    keep: float
    kept: float
    in_domain: Rise
    other_domain: Rise

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def compare(
    bench: Bench,
    keeps: Sequence[float],
    *,
    refine: bool = True,
    heal_minutes: float = 0.0,
    seed: int = 0,
    on_row: Callable[[MethodRow], None] | None = None,
) -> list[MethodRow]:
    """Perplexity of plain SVD, ASVD, SVD-LLM and ours at each share of the parameters.

    Parameters
    ----------
    bench
        From `compression.open_bench`, with a text of another domain.
    keeps
        Shares of the selected layers' parameters.
    refine
        Also ours fitted again block by block.
    heal_minutes
        Also ours with its factors trained for so long, at each share.
    seed
        Of labels and batches.
    on_row
        Called with each row as it is measured.

    Raises
    ------
    BadInput
        If a share is not between 0 and 1.
    """
    if bad := [keep for keep in keeps if not 0 < keep < 1]:
        raise BadInput(f"--keep is {bad[0]}; shares between 0 and 1 are expected, such as 0.9,0.8")
    before = [bench.measure({}, windows, "dense") for windows in (bench.texts.judge, bench.texts.other)]
    rows: list[MethodRow] = []

    def judge(method: str, ranks: str, layout: str, keep: float, factors: dict[str, Factors]) -> None:
        label = f"{method} {keep:g}"
        after = [bench.measure(factors, w, label) for w in (bench.texts.judge, bench.texts.other)]
        rises = [paired_rise(a, b) for a, b in zip(before, after, strict=True)]
        rows.append(MethodRow(method, ranks, layout, keep, _kept(bench, factors), rises[0], rises[1]))
        if on_row is not None:
            on_row(rows[-1])

    seen = moments(
        bench.model,
        bench.texts.fit,
        list(bench.dense),
        seed=seed,
        on_progress=lambda done, total: bench.progress("moments", done, total),
    )
    for method, make in _others(bench, seen).items():
        found = {name: make(name) for name in bench.dense}
        for keep in keeps:
            ranks = {name: baselines.uniform_rank(_shape(bench, name), keep) for name in bench.dense}
            judge(method, "uniform", "two", keep, _cut(bench, found, ranks, "two"))
        del found
    del seen
    bench.prepare(multiple=MULTIPLE, min_saving=MIN_SAVING, seed=seed, keep_gradients=refine)
    layouts: tuple[Layout, ...] = ("two", "pivoted")
    for layout in layouts:
        bench.layout = layout
        options = all_options(bench.prepared, multiple=MULTIPLE, min_saving=MIN_SAVING, layout=layout)
        bench.options, bench.plans = options, frontier(options)
        for keep in keeps:
            plan = solve(options, Bounds(parameters=keep * all_dense(options)), layout=layout)
            factors = bench.factors(plan)
            judge("ours", "global", layout, keep, factors)
            if refine:
                judge("ours, refined", "global", layout, keep, bench.refined(plan))
            if heal_minutes:
                healed = bench.healed(factors, minutes=heal_minutes, seed=seed)
                judge(f"ours, healed {heal_minutes:g} min", "global", layout, keep, healed)
    return rows


def _others(bench: Bench, seen: dict[str, Moments]) -> dict[str, Callable[[str], Factoring]]:
    weights = {name: layer.weight for name, layer in bench.dense.items()}
    return {
        "plain SVD": lambda name: baselines.plain(weights[name]),
        "ASVD scaling": lambda name: baselines.scaled(weights[name], seen[name]),
        "SVD-LLM whitening": lambda name: baselines.whitened(weights[name], seen[name]),
    }


def _cut(
    bench: Bench, found: dict[str, Factoring], ranks: dict[str, int], layout: Layout
) -> dict[str, Factors]:
    own, bench.layout = bench.layout, layout
    try:
        return {name: bench.stored(name, found[name], rank) for name, rank in ranks.items()}
    finally:
        bench.layout = own


def _shape(bench: Bench, name: str) -> tuple[int, int]:
    out, in_ = bench.dense[name].weight.shape
    return out, in_


def _kept(bench: Bench, factors: dict[str, Factors]) -> float:
    dense = {name: layer.weight.numel() for name, layer in bench.dense.items()}
    held = {name: pair.left.numel() + pair.right.numel() for name, pair in factors.items()}
    return sum(held.get(name, size) for name, size in dense.items()) / sum(dense.values())
