"""Size, latency and perplexity of many plans, and which of them no other beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import Any

from svd_compress.allocation import Plan, all_dense, check_reach, least, stored
from svd_compress.bench import Bench
from svd_compress.evaluation import Losses, Rise, paired_rise
from svd_compress.folder import dense_bytes, stored_dtype
from svd_compress.knapsack import Bounds, solve
from svd_compress.latency import LatencyRow
from svd_compress.loss_store import LossStore
from svd_compress.lowrank import break_even_rank
from svd_compress.timing import Interval

KEEPS = (0.95, 0.9, 0.8, 0.6)


@dataclass(frozen=True)
class Point:
    """One plan, measured.

    Attributes
    ----------
    keep
        Share of the selected layers' parameters; 1.0 is the dense model.
    plan
        Its ranks.
    model_bytes
        Of all weights as they would be stored.
    latency_s
        Of the selected layers together for the tokens of one forward pass, summed from the measured table;
        None where nothing was measured.
    in_domain, other_domain
        Perplexity before and after, and the rise.
    """

    keep: float
    plan: Plan
    model_bytes: int
    latency_s: float | None
    in_domain: Rise
    other_domain: Rise | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON; of the plan only how many layers it factors."""
        content = asdict(self)
        del content["plan"]
        return {**content, "factored_layers": sum(r is not None for r in self.plan.ranks.values())}


def pareto(points: Sequence[Point]) -> list[Point]:
    """The points that no other equals or beats in bytes, latency and perplexity and beats in one."""

    def numbers(point: Point) -> tuple[float, ...]:
        return (float(point.model_bytes), point.latency_s or 0.0, point.in_domain.after)

    def beaten(point: Point) -> bool:
        own = numbers(point)
        return any(
            all(a <= b for a, b in zip(numbers(other), own, strict=True)) and numbers(other) != own
            for other in points
        )

    kept: list[Point] = []
    for point in points:
        if not beaten(point) and numbers(point) not in {numbers(other) for other in kept}:
            kept.append(point)
    return kept


def scan(bench: Bench, keeps: Sequence[float], rows: Sequence[LatencyRow], losses: LossStore) -> list[Point]:
    """Measure the dense model and the best plan for each share of the selected layers' parameters.

    A share that the allowed ranks do not reach is left out.

    Raises
    ------
    BadInput
        If there are allowed ranks and none of the shares is within their reach.
    """
    if len(bench.plans) > 1:
        check_reach(bench.options, max(keeps), measured=bool(rows))
    before = _judge(bench, None, "dense", losses)
    dense = Plan(dict.fromkeys(bench.options), bench.plans[0].parameters, 0.0)
    points = [_point(bench, dense, before, before, rows)]
    for keep in reached(bench, keeps):
        bounds = Bounds(parameters=keep * bench.plans[0].parameters)
        plan = solve(bench.options, bounds, layout=bench.layout)
        points.append(_point(bench, plan, before, _judge(bench, plan, f"keep {keep:g}", losses), rows))
    return points


def reached(bench: Bench, keeps: Sequence[float]) -> list[float]:
    """The shares that the allowed ranks reach, the largest first."""
    smallest, dense = least(bench.options), all_dense(bench.options)
    return [keep for keep in sorted(keeps, reverse=True) if keep * dense >= smallest]


def _judge(bench: Bench, plan: Plan | None, stage: str, losses: LossStore) -> list[Losses]:
    factors = cache(lambda: bench.factors(plan) if plan else {})
    label = _label(bench, plan)
    return [losses.measure(label, w, factors, stage) for w in (bench.texts.judge, bench.texts.other) if w]


def _label(bench: Bench, plan: Plan | None) -> dict[str, object]:
    ranks = {} if plan is None else {name: rank for name, rank in plan.ranks.items() if rank is not None}
    return {"layout": bench.layout, "ranks": ranks}


def _point(
    bench: Bench, plan: Plan, before: list[Losses], after: list[Losses], rows: Sequence[LatencyRow]
) -> Point:
    rises = [paired_rise(a, b) for a, b in zip(before, after, strict=True)]
    return Point(
        keep=plan.parameters / bench.plans[0].parameters,
        plan=plan,
        model_bytes=model_bytes(bench, plan),
        latency_s=_latency(bench, plan, rows),
        in_domain=rises[0],
        other_domain=rises[1] if len(rises) > 1 else None,
    )


def model_bytes(bench: Bench, plan: Plan) -> int:
    """Bytes of all weights with this plan, in the dtypes in which they are stored."""
    total = dense_bytes(bench.checkpoint)
    for name, rank in plan.ranks.items():
        if rank is None:
            continue
        m, n = bench.prepared[name].shape
        size = stored_dtype(bench.checkpoint, f"{name}.weight").itemsize
        total -= size * (m * n - stored((m, n), rank, bench.layout))
        total += 4 * rank if bench.layout == "pivoted" else 0
    return total


def _latency(bench: Bench, plan: Plan, rows: Sequence[LatencyRow]) -> float | None:
    if not rows:
        return None
    dense = {row.shape: row.dense_s for row in rows}
    factored = {(row.shape, row.rank): row.factored_s for row in rows}
    return sum(
        dense[shape] if rank is None else factored[shape, rank]
        for name, rank in plan.ranks.items()
        for shape in [bench.prepared[name].shape]
    )


@dataclass(frozen=True)
class LayerLine:
    """What to do with one layer, and what that brings and costs.

    `perplexity` is the rise by this layer alone with its interval; `measured` says whether it was measured on
    this very layer or predicted, with the interval that the ratios of measured to predicted rise on others
    give.
    """

    name: str
    break_even_rank: int
    rank: int | None
    speed_up: Interval | None
    perplexity: Interval | None
    measured: bool

    def sentence(self) -> str:
        """One line for the report."""
        if self.rank is None:
            return f"layer {self.name}: leave dense"
        parts = [f"layer {self.name}: rank {self.rank}"]
        if self.speed_up is not None:
            s = self.speed_up
            gains = (f"{100 * (gain - 1):+.0f} %" for gain in (s.median, s.low, s.high))
            parts.append("{} speed ({} to {})".format(*gains))
        if self.perplexity is not None:
            p = self.perplexity
            word = "" if self.measured else ", predicted"
            parts.append(f"perplexity {p.median:+.3f} ({p.low:+.3f} to {p.high:+.3f}{word})")
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {**asdict(self), "line": self.sentence()}


def layer_lines(
    bench: Bench,
    plan: Plan,
    speeds: Mapping[tuple[tuple[int, int], int], Interval],
    *,
    measure: int,
    losses: LossStore,
) -> list[LayerLine]:
    """One line for each layer: measured alone for up to `measure` of them, predicted for the rest.

    The measured ones are spread evenly over the predictions. With k ratios of measured to predicted rise of
    the loss, the next one lies between their least and greatest with probability (k - 1)/(k + 1).
    """
    from math import expm1

    factored = {
        name: float(bench.prepared[name].losses[rank])
        for name, rank in plan.ranks.items()
        if rank is not None
    }
    before = losses.measure(_label(bench, None), bench.texts.judge, dict, "dense")
    rises: dict[str, Rise] = {}
    chosen = _spread(sorted(factored, key=factored.__getitem__), measure)
    for done, name in enumerate(chosen, 1):
        alone = Plan({name: plan.ranks[name]}, 0, 0.0)
        stage = f"layer {done} of {len(chosen)}"
        after = losses.measure(_label(bench, alone), bench.texts.judge, partial(bench.factors, alone), stage)
        rises[name] = paired_rise(before, after)
    P = before.perplexity
    ratios = sorted((rises[name].rise / P) / factored[name] for name in rises if factored[name] > 0)
    middle = ratios[len(ratios) // 2] if ratios else 1.0
    lines = []
    for name, rank in plan.ranks.items():
        shape = bench.prepared[name].shape
        perplexity = None
        if name in rises:
            rise = rises[name]
            perplexity = Interval(rise.rise, rise.low, rise.high)
        elif rank is not None and len(ratios) > 1:
            low, mid, high = (P * expm1(r * factored[name]) for r in (ratios[0], middle, ratios[-1]))
            perplexity = Interval(mid, low, high)
        speed = None if rank is None else speeds.get((shape, rank))
        lines.append(
            LayerLine(name, break_even_rank(*shape), rank, speed, perplexity, measured=name in rises)
        )
    return lines


def _spread(names: Sequence[str], count: int) -> list[str]:
    if count >= len(names):
        return list(names)
    return [names[(2 * i + 1) * len(names) // (2 * count)] for i in range(count)]
