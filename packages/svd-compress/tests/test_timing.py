"""Intervals of medians, and that every call is made; no speed is asserted."""

import numpy as np
import pytest

from mfi_command import BadInput
from svd_compress.latency import bound, candidate_ranks, judge, measure
from svd_compress.timing import Interval, copies, median_interval, rounds_on_cpu


def test_the_interval_covers_the_median_as_often_as_it_says():
    rng = np.random.default_rng(0)
    for n in (6, 15, 40):
        draws = rng.lognormal(size=(4000, n))
        intervals = [median_interval(row) for row in draws]
        covered = np.mean([i.low <= 1.0 <= i.high for i in intervals])
        assert 0.945 < covered < 0.999
        assert all(i.low <= i.median <= i.high for i in intervals)


def test_few_values_give_their_ends():
    assert median_interval(np.array([3.0, 1.0, 2.0])) == Interval(2.0, 1.0, 3.0)


def test_all_alternatives_take_turns():
    made = []
    calls = [[lambda i=i, j=j: made.append((i, j)) for j in range(2)] for i in range(3)]
    times = rounds_on_cpu(calls, rounds=4)
    assert times.shape == (4, 3)
    assert (times > 0).all()
    once = [(i, j) for i in range(3) for j in range(2)]
    assert made == once * 5  # one round to warm up


def test_copies_fill_the_cache_several_times():
    assert copies(10, cache_bytes=50, times=4) == 20
    assert copies(10**9, cache_bytes=100) == 3
    assert copies(1, cache_bytes=10**9) == 24


def test_the_bound_is_the_ratio_of_the_numbers():
    assert bound((4096, 4096), 1024, layout="two") == 2.0
    assert bound((4096, 4096), 2048, layout="pivoted") == pytest.approx(4 / 3)


@pytest.mark.parametrize(
    ("median", "low", "verdict"),
    [
        (1.5, 1.2, "faster"),
        (1.5, 0.9, "leave dense"),
        (0.8, 0.7, "leave dense"),
        (2.2, 2.0, "measurement error"),
    ],
)
def test_verdicts(median, low, verdict):
    assert judge(Interval(median, low, 3.0), 2.0) == verdict


@pytest.mark.parametrize("layout", ["two", "pivoted"])
def test_a_measured_row_holds_what_it_says(layout):
    (row,) = measure((48, 32), [8], 4, layout=layout, rounds=6)
    assert row.bound == bound((48, 32), 8, layout=layout)
    assert row.verdict == judge(row.speed_up, row.bound)
    assert (row.rank, row.tokens, row.layout, row.kernel, row.dtype) == (8, 4, layout, "two calls", "float32")
    assert row.dense_s > 0
    assert row.factored_s > 0
    assert row.device


def test_ranks_are_aligned_and_save():
    ranks = candidate_ranks((96, 48), multiple=8, layout="two")
    assert ranks == [8, 16, 24]
    assert candidate_ranks((96, 48), multiple=8, layout="pivoted")[-1] == 40
    assert candidate_ranks((6, 6), multiple=8, layout="two") == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ranks": [0]}, "rank 0"),
        ({"ranks": [32]}, "rank 32"),
        ({"ranks": [8], "tokens": 0}, "tokens"),
        ({"ranks": [8], "device": "cuda"}, "CUDA"),
    ],
)
def test_bad_options(options, message):
    import torch

    if options.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(BadInput, match=message):
        measure((48, 32), options.pop("ranks"), options.pop("tokens", 1), **options)
