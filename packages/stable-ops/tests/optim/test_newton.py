"""Minima that are known, and the safeguards where plain Newton fails."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from mfi_command import BadInput
from stable_ops import newton_search


@given(st.integers(0, 2**32))
def test_one_step_for_quadratics(seed):
    rng = np.random.default_rng(seed)
    centre, width = rng.standard_normal(20), 0.1 + rng.random(20)
    result = newton_search(
        lambda x: (width * (x - centre) ** 2, 2 * width * (x - centre), 2 * width), np.zeros(20)
    )
    np.testing.assert_allclose(result.x, centre, rtol=1e-12)
    assert result.iterations <= 3
    assert result.converged.all()


def quartic(x):
    """Minima at -1 and 1, a maximum at 0 where f'' < 0."""
    return x**4 / 4 - x**2 / 2, x**3 - x, 3 * x**2 - 1


def test_does_not_climb_to_a_maximum():
    result = newton_search(quartic, np.array([0.1, -0.2, 0.57, 5.0, -3.0]))
    np.testing.assert_allclose(result.x, [1, -1, 1, 1, -1], rtol=1e-8)


def test_overshooting_steps_are_halved():
    """log cosh: from 1.2 plain Newton overshoots to -1.6 and diverges."""
    result = newton_search(
        lambda x: (np.logaddexp(x, -x), np.tanh(x), 1 - np.tanh(x) ** 2), np.array([1.2, -3.0, 8.0])
    )
    np.testing.assert_allclose(result.x, 0, atol=1e-7)
    assert result.converged.all()


def test_agrees_with_scipy():
    def derivatives(x):
        return (
            np.exp(x) - 3 * x + np.sin(2 * x),
            np.exp(x) - 3 + 2 * np.cos(2 * x),
            np.exp(x) - 4 * np.sin(2 * x),
        )

    expected = minimize_scalar(lambda x: derivatives(x)[0], bracket=(1.0, 1.5), tol=1e-12).x
    assert newton_search(derivatives, 1.2).x == pytest.approx(expected, rel=1e-7)


def test_bounds_hold():
    result = newton_search(lambda x: ((x - 3) ** 2, 2 * (x - 3), np.full_like(x, 2.0)), [0.0], high=1.0)
    assert result.x.tolist() == [1.0]
    assert result.converged.all()


def test_a_run_that_is_too_short_says_so():
    result = newton_search(quartic, [50.0], max_iterations=3)
    assert not result.converged.any()
    assert result.iterations == 3


@pytest.mark.parametrize("start", [np.nan, 2.0])
def test_bad_input(start):
    with pytest.raises(BadInput, match="start"):
        newton_search(quartic, start, high=1.0)
