"""What the user asked for, and the plan that meets it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

from mfi_command import BadInput
from svd_compress.allocation import Option, Plan, check_reach
from svd_compress.answers import Proof
from svd_compress.bench import Bench
from svd_compress.evaluation import Losses, Rise, paired_rise
from svd_compress.folder import dense_bytes, stored_dtype
from svd_compress.knapsack import Bounds, solve
from svd_compress.latency import LatencyRow
from svd_compress.matrices import smallest_rank
from svd_compress.search import smallest_under

# Measurements at most: on a part of the calibration text, and on the evaluation text. Few of the latter,
# for each look at it makes its interval a little too short.
PROBES, CHECKS = 5, 4
# A healed plan keeps about half of its rise: the search for one may aim so much higher.
HEALING_GAIN = 2.0

Realise = Callable[[Plan], Proof]


@dataclass(frozen=True)
class Goal:
    """Exactly one is given; see `compress`."""

    max_ppl_rise: float | None = None
    keep: float | None = None
    energy: float | None = None
    max_bytes: int | None = None
    speed_up: float | None = None

    def check(self, *, faster_at: int) -> None:
        """Raise `BadInput` unless exactly one goal is given, in its range."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        if len(given) != 1:
            raise BadInput("give exactly one of --max-ppl-rise, --keep, --energy, --max-bytes and --speed-up")
        name, value = next(iter(given.items()))
        option = "--" + name.replace("_", "-")
        if name in ("keep", "energy"):
            if not 0 < value < 1:
                raise BadInput(f"{option} is {value}; a share between 0 and 1 is expected, such as 0.9")
        elif name == "speed_up":
            if not (math.isfinite(value) and value > 1):
                raise BadInput(f"{option} is {value}; a factor above 1 is expected, such as 1.2")
            if not faster_at:
                raise BadInput(f"{option} is a measured speed: say at how many tokens, with --faster-at")
        elif not (math.isfinite(value) and value > 0):
            raise BadInput(f"{option} is {value}; a finite number above 0 is expected, such as 1.0")


def choose(
    bench: Bench,
    goal: Goal,
    before: Losses,
    realise: Realise,
    rows: Sequence[LatencyRow],
    *,
    healing: bool = False,
) -> Proof:
    """The plan that meets the goal, turned into factors and judged on the evaluation text."""
    if len(bench.plans) == 1:
        return Proof(bench.plans[0], {}, None)
    if goal.max_ppl_rise is not None:
        return _by_rise(bench, before, goal.max_ppl_rise, realise, healing=healing)
    return _judged(bench, before, realise(_plan(bench, goal, rows)))


def _plan(bench: Bench, goal: Goal, rows: Sequence[LatencyRow]) -> Plan:
    sizes = {name: stored_dtype(bench.checkpoint, f"{name}.weight").itemsize for name in bench.options}
    if goal.energy is not None:
        return _by_energy(bench, goal.energy)
    if goal.keep is not None:
        check_reach(bench.options, goal.keep, measured=bool(rows))
        bounds = Bounds(parameters=goal.keep * bench.plans[0].parameters)
    elif goal.max_bytes is not None:
        dense = {name: _dense_bytes(bench, name, sizes[name]) for name in bench.options}
        others = dense_bytes(bench.checkpoint) - sum(dense.values())
        smallest = others + _least(bench, lambda name, o: o.stored_bytes(sizes[name], bench.layout))
        if goal.max_bytes < smallest:
            raise BadInput(
                f"--max-bytes is {goal.max_bytes}, and with the smallest allowed ranks the weights take "
                f"{smallest:.0f}: ask for that or more"
            )
        bounds = Bounds(stored_bytes=goal.max_bytes - others)
    else:
        assert goal.speed_up is not None
        dense_s = {row.shape: row.dense_s for row in rows}
        whole = sum(dense_s[bench.prepared[name].shape] for name in bench.options)
        fastest = whole / _least(bench, lambda _, option: option.latency_s or 0.0)
        if goal.speed_up > fastest:
            raise BadInput(
                f"--speed-up is {goal.speed_up:g}, and the fastest ranks give "
                f"{math.floor(1e3 * fastest) / 1e3:g}: ask for that or less"
            )
        bounds = Bounds(latency_s=whole / goal.speed_up)
    return solve(bench.options, bounds, itemsizes=sizes, layout=bench.layout)


def _least(bench: Bench, cost: Callable[[str, Option], float]) -> float:
    """The least sum of a cost over the layers, each at the option that has the least."""
    return sum(min(cost(name, option) for option in choices) for name, choices in bench.options.items())


def _dense_bytes(bench: Bench, name: str, itemsize: int) -> int:
    return math.prod(bench.prepared[name].shape) * itemsize


def _judged(bench: Bench, before: Losses, proof: Proof) -> Proof:
    after = bench.measure(proof.factors, bench.texts.judge, "perplexity after")
    return replace(proof, rise=paired_rise(before, after))


def _by_rise(bench: Bench, before: Losses, budget: float, realise: Realise, *, healing: bool) -> Proof:
    """Search on calibration text, then let the evaluation text confirm the answer or move it a little."""
    searched = bench.measure({}, bench.texts.search, "search")

    def probe(index: int) -> Rise:
        factors = bench.factors(bench.plans[index])
        return paired_rise(searched, bench.measure(factors, bench.texts.search, "search"))

    proofs: dict[int, Proof] = {}

    def verify(index: int) -> Rise:
        proofs[index] = _judged(bench, before, realise(bench.plans[index]))
        rise = proofs[index].rise
        assert rise is not None
        return rise

    found = smallest_under(
        bench.plans,
        probe,
        budget * (HEALING_GAIN if healing else 1.0),
        before=searched.perplexity,
        value=lambda rise: rise.rise,
        probes=PROBES,
    )
    index = smallest_under(
        bench.plans,
        verify,
        budget,
        before=before.perplexity,
        value=lambda rise: rise.unseen_high,
        probes=CHECKS,
        start=max(found, 1),
    )
    if index in proofs:
        return proofs[index]
    gentlest = min((p.rise for p in proofs.values() if p.rise), key=lambda rise: rise.rise, default=None)
    return Proof(bench.plans[index], {}, gentlest)


def _by_energy(bench: Bench, energy: float) -> Plan:
    """In each layer the smallest allowed rank that keeps the share of whitened energy, else dense."""
    ranks: dict[str, int | None] = {}
    chosen = []
    for name, choices in bench.options.items():
        least = smallest_rank(bench.prepared[name].factors.energies.numpy(), energy)
        enough = [option for option in choices if option.rank is None or option.rank >= least]
        best = min(enough, key=lambda option: option.parameters)
        ranks[name] = best.rank
        chosen.append(best)
    return Plan(ranks, sum(o.parameters for o in chosen), sum(o.loss for o in chosen))
