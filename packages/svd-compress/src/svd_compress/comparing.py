"""Methods beside each other: one model, one protocol, the same share of parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfi_command import BadInput
from mfi_command.executors import digest
from svd_compress import baselines
from svd_compress.allocation import Layout, Plan, all_dense, check_reach, stored
from svd_compress.bench import Bench
from svd_compress.evaluation import Losses, Rise, paired_rise
from svd_compress.folder import Factors
from svd_compress.gradients import Moments, moments
from svd_compress.knapsack import Bounds, solve
from svd_compress.layer_store import LayerStore
from svd_compress.loss_store import LossStore
from svd_compress.preparation import PreparedLayer, all_options, fingerprint

if TYPE_CHECKING:
    import torch

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
    heal_keeps: Sequence[float] | None = None,
    seed: int = 0,
    work: str | Path | None = None,
    keep_factors: bool = True,
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
    heal_minutes, heal_keeps
        Also ours with its factors trained for so long, at these shares (all by default).
    seed
        Of labels and batches.
    work
        Folder in which finished layers and every measured loss are kept: a second call with the same model,
        texts and seed measures only what is missing.
    keep_factors
        Whether `work` keeps the layers too: a GPU makes them faster than a disk gives them.
    on_row
        Called with each row as it is measured, or found in `work`.

    Returns
    -------
    list of MethodRow
        Measured in the order of what is worth knowing first: ours, the other methods from the best one, then
        what is fitted again or trained. Returned with the other methods first.

    Raises
    ------
    BadInput
        If a share is not between 0 and 1.
    """
    if bad := [keep for keep in keeps if not 0 < keep < 1]:
        raise BadInput(f"--keep is {bad[0]}; shares between 0 and 1 are expected, such as 0.9,0.8")
    folder = None if work is None else Path(work)
    judge = _Judge(bench, LossStore(bench, seed=seed, work=folder), on_row)
    folder = folder if keep_factors else None
    others = _Others(bench, seed, folder)
    bench.prepare(
        multiple=MULTIPLE, min_saving=MIN_SAVING, seed=seed, keep_gradients=refine,
        work=None if folder is None else folder / "layers", statistics=others.moments,
    )  # fmt: skip
    if folder is not None:
        # While the moments are there: a run that is stopped between two methods would make them again.
        for method in METHODS:
            others.factor(method)
    for layout, keep, plan in _plans(bench, keeps):
        judge.row(("ours", "global", layout, keep), plan.ranks, partial(bench.factors, plan))
    for method in reversed(METHODS):
        for keep in keeps:
            ranks = {name: baselines.uniform_rank(_shape(bench, name), keep) for name in bench.dense}
            judge.row((method, "uniform", "two", keep), ranks, partial(others.cut, method, ranks))
        others.forget(method)
    if refine:
        for layout, keep, plan in _plans(bench, keeps):
            again = partial(bench.refined, plan)
            judge.row(("ours, refined", "global", layout, keep), plan.ranks, again)
    if heal_minutes:
        method = f"ours, healed {heal_minutes:g} min"
        for layout, keep, plan in _plans(bench, heal_keeps or keeps):
            heal = partial(_healed, bench, plan, heal_minutes, seed)
            judge.row((method, "global", layout, keep), plan.ranks, heal)
    known = list(METHODS)
    return sorted(judge.rows, key=lambda row: known.index(row.method) if row.method in known else len(known))


class _Judge:
    """Measures rows on both texts, each once."""

    def __init__(self, bench: Bench, losses: LossStore, on_row: Callable[[MethodRow], None] | None) -> None:
        self.bench, self.losses, self.on_row = bench, losses, on_row
        self.rows: list[MethodRow] = []
        self._before = self._on_both({"method": "dense"}, dict)

    def row(
        self,
        label: tuple[str, str, Layout, float],
        ranks: Mapping[str, int | None],
        make: Callable[[], Mapping[str, Factors]],
    ) -> None:
        """Measure a row, unless it is known; `make` gives its factors where they are needed."""
        method, chosen, layout, keep = label
        self.bench.layout = layout
        after = self._on_both({"method": method, "layout": layout, "keep": keep}, cache(make))
        rises = [paired_rise(a, b) for a, b in zip(self._before, after, strict=True)]
        kept = _kept(self.bench, ranks)
        self.rows.append(MethodRow(method, chosen, layout, keep, kept, rises[0], rises[1]))
        if self.on_row is not None:
            self.on_row(self.rows[-1])

    def _on_both(
        self, label: Mapping[str, object], factors: Callable[[], Mapping[str, Factors]]
    ) -> list[Losses]:
        name = " ".join(str(part) for part in label.values())
        texts = {"in-domain": self.bench.texts.judge, "other domain": self.bench.texts.other}
        return [self.losses.measure(label, w, factors, f"{name}, {text}") for text, w in texts.items()]


def _plans(bench: Bench, keeps: Sequence[float]) -> Iterator[tuple[Layout, float, Plan]]:
    layouts: tuple[Layout, ...] = ("two", "pivoted")
    for layout in layouts:
        options = all_options(bench.prepared, multiple=MULTIPLE, min_saving=MIN_SAVING, layout=layout)
        for keep in keeps:
            check_reach(options, keep)
            yield layout, keep, solve(options, Bounds(parameters=keep * all_dense(options)), layout=layout)


def _healed(bench: Bench, plan: Plan, minutes: float, seed: int) -> dict[str, Factors]:
    return bench.healed(bench.factors(plan), minutes=minutes, seed=seed)


class _Others:
    """The other methods: the moments they read, and the factors of every layer by each of them."""

    def __init__(self, bench: Bench, seed: int, work: Path | None) -> None:
        self.bench, self.seed = bench, seed
        self._moments: dict[str, Moments] = {}
        same = {**fingerprint(bench.model, bench.texts.fit, list(bench.dense)), "seed": seed}
        self._found: dict[str, MutableMapping[str, PreparedLayer]] = {
            method: {} if work is None else LayerStore(work / digest({**same, "method": method}))
            for method in METHODS
        }

    def moments(self, names: Sequence[str]) -> dict[str, Moments]:
        """Of these layers; computed for all of them when they are first asked for."""
        if not self._moments:
            self._moments = moments(
                self.bench.model,
                self.bench.texts.fit,
                list(self.bench.dense),
                seed=self.seed,
                on_progress=lambda done, total: self.bench.progress("moments", done, total),
            )
        return {name: self._moments[name] for name in names}

    def factor(self, method: str) -> None:
        """Factor every layer that is not yet."""
        found = self._found[method]
        for done, (name, layer) in enumerate(self.bench.dense.items(), 1):
            if name not in found:
                made = METHODS[method](layer.weight, self.moments([name])[name])
                # No stored form has more than float32, and the factors of a whole model are as large as it.
                slim = replace(made, left=made.left.float(), right=made.right.float())
                found[name] = PreparedLayer(_shape(self.bench, name), slim, made.tail().numpy() / 2)
            self.bench.progress(f"factors, {method}", done, len(self.bench.dense))

    def cut(self, method: str, ranks: Mapping[str, int]) -> dict[str, Factors]:
        """The factors of these ranks."""
        self.factor(method)
        found = self._found[method]
        return {name: self.bench.stored(name, found[name].factors, rank) for name, rank in ranks.items()}

    def forget(self, method: str) -> None:
        """Let go of what only memory holds."""
        if isinstance(self._found[method], dict):
            self._found[method].clear()


Make = Callable[["torch.Tensor", Moments], "Factoring"]
METHODS: dict[str, Make] = {
    "plain SVD": lambda W, seen: baselines.plain(W),
    "ASVD scaling": lambda W, seen: baselines.scaled(W, seen),
    "SVD-LLM whitening": lambda W, seen: baselines.whitened(W, seen),
}


def _shape(bench: Bench, name: str) -> tuple[int, int]:
    out, in_ = bench.dense[name].weight.shape
    return out, in_


def _kept(bench: Bench, ranks: Mapping[str, int | None]) -> float:
    shapes = {name: _shape(bench, name) for name in bench.dense}
    held = [
        m * n if ranks[name] is None else stored((m, n), int(ranks[name] or 0), bench.layout)
        for name, (m, n) in shapes.items()
    ]
    return sum(held) / sum(m * n for m, n in shapes.values())
