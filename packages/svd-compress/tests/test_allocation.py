"""The frontier against every plan there is, on problems small enough to try them all."""

import re
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfi_command import BadInput
from svd_compress.allocation import Option, all_dense, check_reach, frontier, options
from svd_compress.knapsack import Bounds, solve
from svd_compress.matrices import tail_sums


def random_layers(seed, count=4):
    rng = np.random.default_rng(seed)
    layers = {}
    for number in range(count):
        m, n = rng.integers(24, 80, 2)
        energies = np.sort(rng.exponential(size=min(m, n)) ** 3)[::-1] * 10.0 ** rng.uniform(-2, 2)
        layers[f"layer{number}"] = options((int(m), int(n)), tail_sums(energies), multiple=8, min_saving=0.0)
    return layers


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_plan_of_the_size_is_predicted_better(seed):
    layers = random_layers(seed)
    plans = frontier(layers)
    every = [
        (sum(option.parameters for option in choice), sum(option.loss for option in choice))
        for choice in product(*layers.values())
    ]
    for plan in plans:
        best = min(loss for parameters, loss in every if parameters <= plan.parameters)
        assert plan.predicted_loss_rise <= best * (1 + 1e-9) + 1e-12
        chosen = [
            next(option for option in layers[name] if option.rank == rank)
            for name, rank in plan.ranks.items()
        ]
        assert plan.parameters == sum(option.parameters for option in chosen)
        np.testing.assert_allclose(plan.predicted_loss_rise, sum(option.loss for option in chosen))


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_frontier_runs_from_dense_to_smallest(seed):
    layers = random_layers(seed)
    plans = frontier(layers)
    assert set(plans[0].ranks.values()) == {None}
    assert plans[0].predicted_loss_rise == 0
    assert plans[-1].parameters == sum(min(o.parameters for o in choices) for choices in layers.values())
    sizes = [plan.parameters for plan in plans]
    rises = [plan.predicted_loss_rise for plan in plans]
    assert sizes == sorted(sizes, reverse=True)
    assert all(b >= a - 1e-12 for a, b in pairwise(rises))


def test_options_save_what_they_must():
    losses = tail_sums(np.ones(48))
    allowed = options((96, 48), losses, multiple=8, min_saving=0.2)
    assert [option.rank for option in allowed] == [8, 16, 24, None]  # 0.8 * 32 = 25.6
    assert all(option.parameters <= 0.8 * 96 * 48 for option in allowed if option.rank)
    # At 32 the factors hold exactly as many numbers: no saving, never offered.
    assert [o.rank for o in options((96, 48), losses, multiple=8, min_saving=0.0)] == [8, 16, 24, None]
    assert options((6, 6), tail_sums(np.ones(6)), multiple=8) == [Option(None, 36, 0.0)]


def test_a_share_out_of_reach_is_told_what_can_be_asked_for():
    layers = random_layers(0)
    with pytest.raises(BadInput, match="keep 0") as refused:
        check_reach(layers, 0.001)
    told = float(re.search(r"ranks keep ([\d.]+)", str(refused.value)).group(1))
    check_reach(layers, told)
    dense, smallest = all_dense(layers), frontier(layers)[-1].parameters
    assert smallest <= solve(layers, Bounds(parameters=told * dense)).parameters <= told * dense
    with pytest.raises(BadInput, match="--faster-at 0"):
        check_reach(layers, 0.999 * smallest / dense, measured=True)
