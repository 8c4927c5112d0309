"""The exact choice of ranks under several bounds at once: a multiple-choice knapsack, solved by HiGHS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput
from svd_compress.allocation import Layout, Option, Plan
from svd_compress.matrices import Float64

# Relative to the bound itself: rounding of sums, no more.
SLACK = 1e-9
# The solver stops at a plan whose predicted loss is within this share of the least possible.
GAP = 1e-6
SECONDS = 60.0
# Of the search for the price at which the cheapest options just fit the bound.
BISECTIONS, HIGHEST_PRICE = 60, 1e12


@dataclass(frozen=True)
class Bounds:
    """Upper bounds on the sum over the layers; None where there is none.

    `parameters` counts numbers, `stored_bytes` bytes, `latency_s` measured seconds, `loss` predicted nats.
    """

    parameters: float | None = None
    stored_bytes: float | None = None
    latency_s: float | None = None
    loss: float | None = None


def solve(
    layers: Mapping[str, Sequence[Option]],
    bounds: Bounds,
    *,
    itemsizes: Mapping[str, int] | None = None,
    layout: Layout = "two",
) -> Plan:
    """The plan within the bounds with the least predicted loss; under a bound on that, the smallest.

    Parameters
    ----------
    layers
        The options of each layer; exactly one of them is taken.
    bounds
        See `Bounds`.
    itemsizes
        Bytes of a stored number by layer, 2 where none is given.
    layout
        How factors are stored.

    Returns
    -------
    Plan
        No plan within the bounds is better by more than a hundred-thousandth of the largest option.

    Raises
    ------
    BadInput
        If no plan is within the bounds, or a latency is bounded that was not measured.

    Notes
    -----
    One binary variable for each option, one equation for each layer; solved by branch and bound
    (`scipy.optimize.milp`, HiGHS) after the Lagrangian has ruled out what cannot be in the best plan.
    """
    from scipy.optimize import Bounds as Box
    from scipy.optimize import LinearConstraint, milp

    names = [name for name, choices in layers.items() for _ in choices]
    every = [option for choices in layers.values() for option in choices]
    if bounds.latency_s is not None and any(option.latency_s is None for option in every):
        raise BadInput("a latency is bounded and some option was not measured; measure all shapes first")
    costs = {
        "parameters": np.array([float(option.parameters) for option in every]),
        "stored_bytes": np.array(
            [
                float(option.stored_bytes((itemsizes or {}).get(name, 2), layout))
                for name, option in zip(names, every, strict=True)
            ]
        ),
        "latency_s": np.array([option.latency_s or 0.0 for option in every]),
        "loss": np.array([option.loss for option in every]),
    }
    limits = {key: getattr(bounds, key) for key in costs if getattr(bounds, key) is not None}
    objective = costs["parameters" if "loss" in limits else "loss"]
    scale = float(np.abs(objective).max()) or 1.0
    one_each = _one_each(layers)
    # What is over a bound by itself is out: the solver's tolerance alone would let a little more than 0 pass.
    alone = _worth_trying(layers, objective / scale, costs, limits)
    rows = [LinearConstraint(one_each, 1.0, 1.0)]
    for key, limit in limits.items():
        over = costs[key] > limit
        alone[over] = 0.0
        # Each row is scaled to its bound, for the solver's tolerances are absolute.
        row = np.divide(costs[key], limit, out=np.zeros(len(every)), where=~over & (costs[key] > 0))
        rows.append(LinearConstraint(row[None], -np.inf, 1.0 + SLACK))
    found = milp(
        objective / scale,
        integrality=np.ones(len(every), dtype=np.int64),
        bounds=Box(0, alone),
        constraints=rows,
        options={"mip_rel_gap": GAP, "time_limit": SECONDS},
    )
    if found.x is None:
        raise BadInput(_impossible(layers, costs, limits))
    taken = np.flatnonzero(found.x > 0.5)
    return Plan(
        {names[i]: every[i].rank for i in taken},
        sum(every[i].parameters for i in taken),
        float(sum(every[i].loss for i in taken)),
    )


def _worth_trying(
    layers: Mapping[str, Sequence[Option]],
    objective: Float64,
    costs: Mapping[str, Float64],
    limits: Mapping[str, float],
) -> Float64:
    """1 for options that may be in the best plan, 0 for those ruled out; only under a single bound.

    For a price the sum of each layer's least objective + price * cost is a lower bound of every plan within
    the limit, and the options that give it are a plan. One that is above its layer's least by more than the
    gap between the best bound and the best plan found is in no better plan.
    """
    alone = np.ones(len(objective))
    if len(limits) != 1:
        return alone
    key, limit = next(iter(limits.items()))
    starts = np.cumsum([0, *(len(choices) for choices in layers.values())])[:-1]
    cost = costs[key] / (float(costs[key].max()) or 1.0)
    bound = limit / (float(costs[key].max()) or 1.0)
    low, high = 0.0, 1.0
    while _at_price(high, objective, cost, starts)[0] > bound:
        low, high = high, 4.0 * high
        if high > HIGHEST_PRICE:
            return alone
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        over = _at_price(middle, objective, cost, starts)[0] > bound
        low, high = (middle, high) if over else (low, middle)
    plan = _at_price(high, objective, cost, starts)[1]
    priced = objective + high * cost
    least = np.minimum.reduceat(priced, starts)
    gap = plan - (float(least.sum()) - high * bound)
    counts = np.diff([*starts, len(objective)])
    alone[priced - np.repeat(least, counts) > gap + SLACK] = 0.0
    return alone


def _at_price(
    price: float, objective: Float64, cost: Float64, starts: NDArray[np.intp]
) -> tuple[float, float]:
    """Cost and objective of the plan of each layer's cheapest option; of equals the one of least cost."""
    priced = objective + price * cost
    ends = [*starts[1:], len(priced)]
    total_cost = total = 0.0
    for a, b in zip(starts, ends, strict=True):
        best = a + int(np.lexsort((cost[a:b], priced[a:b]))[0])
        total_cost += float(cost[best])
        total += float(objective[best])
    return total_cost, total


def _one_each(layers: Mapping[str, Sequence[Option]]) -> Any:
    from scipy.sparse import csr_array

    counts = [len(choices) for choices in layers.values()]
    rows = np.repeat(np.arange(len(counts)), counts)
    return csr_array((np.ones(len(rows)), (rows, np.arange(len(rows)))))


def _impossible(
    layers: Mapping[str, Sequence[Option]], costs: Mapping[str, Float64], limits: Mapping[str, float]
) -> str:
    """What the smallest value of each bounded sum is, beside its bound."""
    ends = np.cumsum([len(choices) for choices in layers.values()])[:-1]
    parts = []
    for key, limit in limits.items():
        least = sum(float(part.min()) for part in np.split(costs[key], ends))
        parts.append(f"{key.replace('_', ' ')} at most {limit:.6g} (the least possible is {least:.6g})")
    return f"no plan satisfies {' and '.join(parts)}"
