"""The compiled exponentials and sums against longer arithmetic."""

import numpy as np
import pytest

pytest.importorskip("numba")

from stable_ops.compiled import loops


def test_weights_are_within_their_bound():
    x = np.random.default_rng(0).uniform(-690, 0, 20_000).astype(np.float32)
    x[:5000] /= 100
    e = np.empty(len(x))
    loops.weights(x, 0.0, e)
    exact = np.exp(x.astype(np.longdouble))
    assert (np.abs(e - exact) <= (2 + np.abs(x)) * 2.0**-53 * exact).all()


def test_weights_far_below_the_peak_are_nothing_and_nan_is_kept():
    e = np.empty(4)
    total = loops.weights(np.array([0, -1e30, -np.inf, 0], np.float32), 0.0, e)
    assert total == 2.0
    assert (e[1:3] < 1e-300).all()
    for nan in (np.nan, -np.nan):
        assert np.isnan(loops.weights(np.array([0, nan], np.float32), 0.0, e[:2]))
        assert np.isnan(loops.rough_sum_of_weights(np.array([0, nan], np.float32), 0.0))


@pytest.mark.parametrize("length", [1, 7, 513, 100_003])
def test_the_rough_sum_is_a_quarter_of_its_bound_off_at_most(length):
    rng = np.random.default_rng(length)
    for scale in (0.01, 1.0, 5.0, 30.0):
        x = (scale * rng.standard_normal(length)).astype(np.float32)
        peak = float(x.max())
        exact = np.exp(x.astype(np.longdouble) - peak).sum()
        assert abs(loops.rough_sum_of_weights(x, peak) - exact) <= loops.ROUGH / 4 * exact


@pytest.mark.parametrize("length", [1, 513, 300_007])
def test_sums_of_long_rows_are_within_their_bound(length):
    """Weights near 1, whose plain running sum would lose a digit for each doubling of the length."""
    rng = np.random.default_rng(length)
    x = (-1e-3 * rng.random(length)).astype(np.float32)
    exact = np.exp(x.astype(np.longdouble)).sum()
    for found in (loops.sum_of_weights(x, 0.0), loops.weights(x, 0.0, np.empty(length))):
        assert abs(found - exact) <= 2.0**-46 * exact
    for mean in (0.0, 1000.0):
        first, second = loops.moments(x, mean)
        d = x.astype(np.longdouble) - mean
        assert abs(first - d.sum()) <= 2.0**-46 * np.abs(d).sum()
        assert abs(second - (d * d).sum()) <= 2.0**-46 * (d * d).sum()


def test_extremes_order_zeros_infinities_and_nan():
    x = np.array([-0.0, -5, 3, 0.0, 1e-45], np.float32)
    assert (loops.largest(x), loops.smallest(x)) == (3, -5)
    x[:2] = np.inf, -np.inf
    assert (loops.largest(x), loops.smallest(x)) == (np.inf, -np.inf)
    x[0] = np.nan
    assert np.isnan(loops.largest(x))
    x[0] = np.copysign(np.float32(np.nan), np.float32(-1))
    assert np.isnan(loops.smallest(x))
