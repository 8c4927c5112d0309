"""The frontier against every plan there is, on problems small enough to try them all."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfi_command import BadInput
from svd_compress.allocation import Option, frontier, options, within
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


def test_within_takes_the_first_that_fits_and_refuses_the_impossible():
    plans = frontier(random_layers(0))
    dense = plans[0].parameters
    plan = within(plans, 0.7 * dense)
    assert plan.parameters <= 0.7 * dense < plans[plans.index(plan) - 1].parameters
    with pytest.raises(BadInput, match="smallest plan"):
        within(plans, 0.001 * dense)
