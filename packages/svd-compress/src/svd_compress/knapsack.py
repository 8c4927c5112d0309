"""The exact choice of ranks under several bounds at once: a multiple-choice knapsack, solved by HiGHS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mfi_command import BadInput
from svd_compress.allocation import Layout, Option, Plan

# Relative to the bound itself: rounding of sums, no more.
SLACK = 1e-9
# The solver stops at a plan whose predicted loss is within this share of the least possible.
GAP = 1e-6
SECONDS = 60.0


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
    """Of all plans within the bounds the one with the least predicted loss; with a bound on the loss, the smallest.

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
    (`scipy.optimize.milp`, HiGHS). Thousands of options take seconds.
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
    alone = np.ones(len(every))
    rows = [LinearConstraint(one_each, 1.0, 1.0)]
    for key, limit in limits.items():
        over = costs[key] > limit
        alone[over] = 0.0
        # Each row is scaled to its bound, for the solver's tolerances are absolute.
        row = np.divide(costs[key], limit, out=np.zeros(len(every)), where=~over & (costs[key] > 0))
        rows.append(LinearConstraint(row[None], -np.inf, 1.0 + SLACK))
    found = milp(
        objective / scale,
        integrality=np.ones(len(every)),
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


def _one_each(layers: Mapping[str, Sequence[Option]]) -> object:
    from scipy.sparse import csr_array

    counts = [len(choices) for choices in layers.values()]
    rows = np.repeat(np.arange(len(counts)), counts)
    return csr_array((np.ones(len(rows)), (rows, np.arange(len(rows)))))


def _impossible(
    layers: Mapping[str, Sequence[Option]], costs: Mapping[str, np.ndarray], limits: Mapping[str, float]
) -> str:
    """What the smallest value of each bounded sum is, beside its bound."""
    ends = np.cumsum([len(choices) for choices in layers.values()])[:-1]
    parts = []
    for key, limit in limits.items():
        least = sum(float(part.min()) for part in np.split(costs[key], ends))
        parts.append(f"{key.replace('_', ' ')} at most {limit:.6g} (the least possible is {least:.6g})")
    return f"no plan satisfies {' and '.join(parts)}"
