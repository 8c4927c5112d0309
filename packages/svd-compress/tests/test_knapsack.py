"""The exact choice against every choice there is, on problems small enough to try them all."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfi_command import BadInput
from svd_compress.allocation import all_dense, frontier, options
from svd_compress.knapsack import Bounds, solve
from svd_compress.matrices import tail_sums

ITEMSIZE = 2


def random_layers(seed, layout, count=4):
    rng = np.random.default_rng(seed)
    layers = {}
    for number in range(count):
        m, n = (int(side) for side in rng.integers(24, 60, 2))
        energies = np.sort(rng.exponential(size=min(m, n)) ** 3)[::-1] * 10.0 ** rng.uniform(-2, 2)
        own = options((m, n), tail_sums(energies), multiple=8, min_saving=0.0, layout=layout)
        # Latencies that do not follow the size.
        layers[f"layer{number}"] = [replace(o, latency_s=float(rng.uniform(1e-5, 1e-4))) for o in own]
    return layers


def sums(choice, layout):
    return {
        "parameters": sum(o.parameters for o in choice),
        "stored_bytes": sum(o.stored_bytes(ITEMSIZE, layout) for o in choice),
        "latency_s": sum(o.latency_s for o in choice),
        "loss": sum(o.loss for o in choice),
    }


def taken(layers, plan):
    return [next(o for o in layers[name] if o.rank == rank) for name, rank in plan.ranks.items()]


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    layout=st.sampled_from(["two", "pivoted"]),
    bounded=st.sets(st.sampled_from(["parameters", "stored_bytes", "latency_s"]), min_size=1),
    share=st.floats(0.05, 1.0),
)
def test_no_choice_within_the_bounds_is_better(seed, layout, bounded, share):
    layers = random_layers(seed, layout)
    every = [(sums(choice, layout), choice) for choice in product(*layers.values())]
    limits = {}
    for key in bounded:
        values = [total[key] for total, _ in every]
        limits[key] = min(values) + share * (max(values) - min(values))
    fits = [total for total, _ in every if all(total[key] <= limits[key] for key in limits)]
    if not fits:
        with pytest.raises(BadInput, match="no plan satisfies"):
            solve(layers, Bounds(**limits), layout=layout)
        return
    plan = solve(layers, Bounds(**limits), layout=layout)
    found = sums(taken(layers, plan), layout)
    assert all(found[key] <= limits[key] * (1 + 1e-6) for key in limits)
    best = min(total["loss"] for total in fits)
    # The solver stops within a hundred-thousandth of the largest loss of an option.
    assert found["loss"] <= best + 1e-5 * max(o.loss for own in layers.values() for o in own)
    assert plan.predicted_loss_rise == pytest.approx(found["loss"])
    assert plan.parameters == found["parameters"]


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.0, 0.9))
def test_under_a_loss_the_plan_is_the_smallest(seed, share):
    layers = random_layers(seed, "pivoted")
    every = [sums(choice, "pivoted") for choice in product(*layers.values())]
    limit = share * max(total["loss"] for total in every)
    plan = solve(layers, Bounds(loss=limit), layout="pivoted")
    # The solver keeps a bound to a millionth.
    loose, strict = (
        min((t["parameters"] for t in every if t["loss"] <= limit * (1 + slack)), default=None)
        for slack in (1e-6, -1e-6)
    )
    assert loose <= plan.parameters <= strict


def test_between_two_plans_of_the_frontier_it_finds_a_better_one():
    better = 0
    for seed in range(6):
        layers = random_layers(seed, "two", count=6)
        for keep in (0.55, 0.65, 0.75, 0.85):
            size = keep * all_dense(layers)
            hull = next(plan for plan in frontier(layers) if plan.parameters <= size)
            exact = solve(layers, Bounds(parameters=size))
            assert exact.predicted_loss_rise <= hull.predicted_loss_rise + 1e-9
            better += exact.predicted_loss_rise < hull.predicted_loss_rise * (1 - 1e-6)
    assert better > 3


def test_what_was_not_measured_cannot_be_bounded():
    layers = {"a": options((24, 24), tail_sums(np.ones(24)), min_saving=0.0)}
    with pytest.raises(BadInput, match="not measured"):
        solve(layers, Bounds(latency_s=1.0))
