"""Methods beside each other: one model, one protocol, the same share of parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mfi_command import BadInput
from mfi_command.executors import JsonFolder, digest
from svd_compress import baselines
from svd_compress.allocation import Layout, Plan, all_dense
from svd_compress.bench import Bench
from svd_compress.evaluation import Losses, Rise, paired_rise
from svd_compress.folder import Factors
from svd_compress.gradients import Moments, moments
from svd_compress.knapsack import Bounds, solve
from svd_compress.preparation import all_options, fingerprint, text_digest

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
    on_row
        Called with each row as it is measured, or found in `work`.

    Returns
    -------
    list of MethodRow
        Measured in the order of what costs least to know: ours first, then the other methods, then what is
        fitted again or trained; returned with the other methods first.

    Raises
    ------
    BadInput
        If a share is not between 0 and 1.
    """
    if bad := [keep for keep in keeps if not 0 < keep < 1]:
        raise BadInput(f"--keep is {bad[0]}; shares between 0 and 1 are expected, such as 0.9,0.8")
    judge = _Judge(bench, seed, None if work is None else Path(work), on_row)
    _ours(bench, judge, keeps, refine=refine, seed=seed)
    _baselines(bench, judge, keeps, seed=seed)
    if refine:
        for layout, keep, plan in _plans(bench, keeps):
            judge.row("ours, refined", "global", layout, keep, partial(bench.refined, plan))
    if heal_minutes:
        method = f"ours, healed {heal_minutes:g} min"
        for layout, keep, plan in _plans(bench, heal_keeps or keeps):
            heal = partial(_healed, bench, plan, heal_minutes, seed)
            judge.row(method, "global", layout, keep, heal)
    return sorted(judge.rows, key=lambda row: row.method.startswith("ours"))


class _Judge:
    """Measures rows on both texts, and remembers what is measured."""

    def __init__(
        self, bench: Bench, seed: int, work: Path | None, on_row: Callable[[MethodRow], None] | None
    ) -> None:
        self.bench, self.on_row, self.work = bench, on_row, work
        self.rows: list[MethodRow] = []
        self._texts = {"in-domain": bench.texts.judge, "other domain": bench.texts.other}
        self._same = {**fingerprint(bench.model, bench.texts.fit, list(bench.dense)), "seed": seed}
        self._store: MutableMapping[str, Any] = {} if work is None else JsonFolder(work / "losses")
        self._before = [_read(self._measured({"method": "dense"}, text, dict)) for text in self._texts]

    def row(
        self, method: str, ranks: str, layout: Layout, keep: float, make: Callable[[], dict[str, Factors]]
    ) -> None:
        """Measure a row, unless it is known; `make` gives its factors where they are needed."""
        self.bench.layout = layout
        label = {"method": method, "layout": layout, "keep": keep}
        factors = cache(make)
        held = [self._measured(label, text, factors) for text in self._texts]
        rises = [paired_rise(a, _read(b)) for a, b in zip(self._before, held, strict=True)]
        self.rows.append(MethodRow(method, ranks, layout, keep, held[0]["kept"], rises[0], rises[1]))
        if self.on_row is not None:
            self.on_row(self.rows[-1])

    def _measured(
        self, label: Mapping[str, object], text: str, factors: Callable[[], dict[str, Factors]]
    ) -> dict[str, Any]:
        windows = self._texts[text]
        key = digest({**self._same, **label, "judged": text_digest(windows)})
        if key not in self._store:
            stage = " ".join(str(part) for part in label.values()) + f", {text}"
            found = self.bench.measure(factors(), windows, stage)
            self._store[key] = {
                "sums": found.sums.tolist(),
                "tokens": found.tokens.tolist(),
                "kept": _kept(self.bench, factors()),
            }
        held: dict[str, Any] = self._store[key]
        return held


def _read(held: Mapping[str, Any]) -> Losses:
    return Losses(np.array(held["sums"]), np.array(held["tokens"]))


def _ours(bench: Bench, judge: _Judge, keeps: Sequence[float], *, refine: bool, seed: int) -> None:
    bench.prepare(
        multiple=MULTIPLE, min_saving=MIN_SAVING, seed=seed, keep_gradients=refine,
        work=None if judge.work is None else judge.work / "layers",
    )  # fmt: skip
    for layout, keep, plan in _plans(bench, keeps):
        judge.row("ours", "global", layout, keep, partial(bench.factors, plan))


def _plans(bench: Bench, keeps: Sequence[float]) -> Iterator[tuple[Layout, float, Plan]]:
    layouts: tuple[Layout, ...] = ("two", "pivoted")
    for layout in layouts:
        options = all_options(bench.prepared, multiple=MULTIPLE, min_saving=MIN_SAVING, layout=layout)
        for keep in keeps:
            yield layout, keep, solve(options, Bounds(parameters=keep * all_dense(options)), layout=layout)


def _healed(bench: Bench, plan: Plan, minutes: float, seed: int) -> dict[str, Factors]:
    return bench.healed(bench.factors(plan), minutes=minutes, seed=seed)


def _baselines(bench: Bench, judge: _Judge, keeps: Sequence[float], *, seed: int) -> None:
    """The other methods, each factored once and cut to the uniform ranks of every share."""
    seen: dict[str, Moments] = {}
    for method, make in METHODS.items():
        found: dict[str, Factoring] = {}
        for keep in keeps:

            def cut(make: Make = make, found: dict[str, Factoring] = found, keep: float = keep) -> Any:
                for name, layer in bench.dense.items():
                    if name not in found:
                        found[name] = _narrow(make(layer.weight, _seen(bench, seen, seed)[name]))
                ranks = {name: baselines.uniform_rank(_shape(bench, name), keep) for name in bench.dense}
                return {name: bench.stored(name, found[name], rank) for name, rank in ranks.items()}

            judge.row(method, "uniform", "two", keep, cut)


def _seen(bench: Bench, seen: dict[str, Moments], seed: int) -> dict[str, Moments]:
    """The moments of every layer, computed when they are first asked for."""
    if not seen:
        seen.update(
            moments(
                bench.model,
                bench.texts.fit,
                list(bench.dense),
                seed=seed,
                on_progress=lambda done, total: bench.progress("moments", done, total),
            )
        )
    return seen


def _narrow(factors: Factoring) -> Factoring:
    """In float32: no stored form has more, and the factors of a whole model are as large as it."""
    return replace(factors, left=factors.left.float(), right=factors.right.float())


Make = Callable[["torch.Tensor", Moments], "Factoring"]
METHODS: Mapping[str, Make] = {
    "plain SVD": lambda W, seen: baselines.plain(W),
    "ASVD scaling": lambda W, seen: baselines.scaled(W, seen),
    "SVD-LLM whitening": lambda W, seen: baselines.whitened(W, seen),
}


def _shape(bench: Bench, name: str) -> tuple[int, int]:
    out, in_ = bench.dense[name].weight.shape
    return out, in_


def _kept(bench: Bench, factors: dict[str, Factors]) -> float:
    dense = {name: layer.weight.numel() for name, layer in bench.dense.items()}
    held = {name: pair.left.numel() + pair.right.numel() for name, pair in factors.items()}
    return sum(held.get(name, size) for name, size in dense.items()) / sum(dense.values())
