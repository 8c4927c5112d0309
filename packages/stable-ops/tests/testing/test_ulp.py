"""The measure itself: what it must accept and what it must not."""

import numpy as np
import pytest

from stable_ops.testing import assert_ulp, error_ulp, misrounded


def test_half_an_ulp_passes_and_a_whole_one_fails():
    third = np.float32(1 / 3)
    assert_ulp(third, 1 / 3)
    with pytest.raises(AssertionError, match="ulp of fp32"):
        assert_ulp(np.nextafter(third, np.float32(1)), 1 / 3)
    assert_ulp(np.nextafter(third, np.float32(1)), 1 / 3, max_ulp=1.5)


def test_counts_ulp():
    x = np.float16([1.0, 2.0, 6e-8])
    up = np.nextafter(np.nextafter(x, np.float16(9)), np.float16(9))
    assert error_ulp(up, x.astype(float)).tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("actual", "expected", "error"),
    [
        (np.nan, np.nan, 0.0),
        (np.nan, 1.0, np.inf),
        (1.0, np.nan, np.inf),
        (np.inf, 1e9, 0.0),  # float16: the truth overflows
        (65504.0, 1e9, np.inf),
        (np.inf, 65504.0, np.inf),
        (-np.inf, np.inf, np.inf),
        (0.0, 0.0, 0.0),
        (0.0, 1e-9, 1e-9 / 2**-24),
    ],
)
def test_specials(actual, expected, error):
    assert error_ulp(np.float16(actual), expected) == error


def test_misrounded_allows_only_a_tie():
    x = np.float16([1.0, 1.0, 1.0009765625])
    truth = np.array([1.0, 1.0 + 2.0**-10, 1.0 + 2.0**-11 * (1 - 2.0**-20)])
    assert misrounded(x, truth).tolist() == [False, True, True]
    assert not misrounded(x[2:], np.array([1.0 + 2.0**-11 * (1 - 2.0**-45)])).any()


def test_another_shape_is_a_failure():
    with pytest.raises(AssertionError, match="shape"):
        assert_ulp(np.zeros(3), np.zeros((1, 3)))
    assert_ulp(np.zeros(0), np.zeros(0))
