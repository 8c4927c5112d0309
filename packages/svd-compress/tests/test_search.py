"""The search on models that are formulas: it stays under the budget and close to it."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svd_compress.allocation import Plan
from svd_compress.evaluation import Rise
from svd_compress.search import smallest_under

BEFORE, COUNT = 20.0, 300


def plans():
    return [Plan({}, 1000 * (COUNT - i), 1e-4 * i**1.5) for i in range(COUNT)]


def judge(every, factor, power=1.0, spread=0.0):
    """A model whose loss rises as `factor * prediction ** power`, with an interval of +- `spread`."""

    def measure(index):
        measure.calls.append(index)
        after = BEFORE * math.exp(min(factor * every[index].predicted_loss_rise ** power, 700))
        return Rise(BEFORE, after, after - BEFORE, after - BEFORE - spread, after - BEFORE + spread)

    measure.calls = []
    return measure


def search(every, measure, budget, **options):
    settings = {"before": BEFORE, "value": lambda rise: rise.high, "probes": 6} | options
    return smallest_under(every, measure, budget, **settings)


@settings(deadline=None)
@given(
    factor=st.sampled_from([0.3, 1.0, 3.0, 30.0]),
    power=st.sampled_from([0.8, 1.0, 1.5]),
    budget=st.floats(0.5, 20),
)
def test_ends_under_the_budget_and_close_to_it(factor, power, budget):
    every = plans()
    measure = judge(every, factor, power)
    index = search(every, measure, budget)
    assert len(measure.calls) <= 6
    assert len(set(measure.calls)) == len(measure.calls)
    if index == 0:  # six probes were too few to find the little that fits
        assert measure(8).rise > budget
    else:
        assert measure(index).rise <= budget
        most = max(i for i in range(COUNT) if judge(every, factor, power)(i).rise <= budget)
        assert every[index].parameters - every[most].parameters <= 0.1 * every[0].parameters


def test_nothing_fits():
    every = plans()
    assert search(every, judge(every, 1e6), 0.1) == 0


def test_everything_fits():
    every = plans()
    assert search(every, judge(every, 1e-9), 1.0) >= COUNT - 3


@pytest.mark.parametrize("start", [1, 20, 100, 299])
def test_a_bad_start_is_mended(start):
    every = plans()
    measure = judge(every, 1.0)
    index = search(every, measure, 1.0, start=start)
    assert measure.calls[0] == start
    assert 0.7 < measure(index).rise <= 1.0


def test_the_upper_end_of_the_interval_is_what_counts():
    every = plans()
    assert search(every, judge(every, 1.0, spread=2.0), 1.0) == 0
    narrow, wide = (search(every, judge(every, 1.0, spread=s), 1.0) for s in (0.0, 0.3))
    assert 0 < wide < narrow
    assert judge(every, 1.0)(wide).rise <= 0.7


def test_a_model_that_gets_better_is_compressed_further():
    every = plans()

    def measure(index):
        return Rise(BEFORE, BEFORE - 0.1, -0.1, -0.2, 0.0)

    assert search(every, measure, 0.5) > 200
