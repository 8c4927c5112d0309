"""The certified operator norm: LAPACK's value lies within, and a missed singular value is noticed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from stable_ops.linalg import operator, operator_norm


def with_singular_values(seed: int, shape: tuple[int, int], sigma: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((n, sigma.size)))[0] for n in shape)
    return (left * sigma) @ right.T


@given(
    st.integers(0, 2**32),
    st.sampled_from([(1, 1), (1, 9), (9, 1), (30, 50), (80, 80), (200, 20)]),
    st.integers(-250, 250),
)
def test_the_interval_holds_lapacks_norm(seed, shape, power):
    A = np.random.default_rng(seed).standard_normal(shape) * 2.0**power
    found = operator_norm(A)
    truth = np.linalg.norm(A, 2)
    assert found.status == "certified"
    # LAPACK's own error is a few eps.
    assert found.lower * (1 - 1e-14) <= truth <= found.upper * (1 + 1e-14)
    assert found.lower <= found.value <= found.upper
    assert found.upper - found.lower < 1e-8 * truth
    assert found.value == pytest.approx(truth, rel=1e-12)
    assert found.residual <= 1e-9


@pytest.mark.parametrize("equal", [1, 2, 8, 20])
def test_equal_singular_values(equal):
    sigma = np.concatenate([np.full(equal, 3.0), np.linspace(2.9, 0.1, 40 - equal)])
    found = operator_norm(with_singular_values(1, (60, 40), sigma))
    assert found.status == "certified"
    assert found.value == pytest.approx(3.0, rel=1e-12)
    assert found.iterations < 200


def test_a_singular_value_that_the_iteration_misses_is_noticed(monkeypatch):
    """A start orthogonal to the first singular vector: residual zero, a wrong answer without the proof."""
    A = np.diag([5.0, 3.0, 2.0, 1.0])

    def blind(A, tolerance, seed):
        return (3 / 8) ** 2, 0.0, 1  # the matrix arrives divided by 8

    monkeypatch.setattr(operator, "_iterate", blind)
    assert operator_norm(A, certify=False).value == 3.0
    found = operator_norm(A)
    assert found.status == "lapack"
    assert found.lower <= 5.0 <= found.upper


def test_a_run_that_is_too_slow_falls_back_on_lapack():
    sigma = np.concatenate([np.linspace(3.0, 2.9999, 30), np.linspace(1.0, 0.1, 10)])
    A = with_singular_values(2, (60, 40), sigma)
    found = operator_norm(A, tolerance=1e-14)
    assert found.status == "lapack"
    assert found.lower <= 3.0 <= found.upper


def test_without_the_proof_there_is_no_upper_end():
    found = operator_norm(np.eye(3), certify=False)
    assert (found.status, found.upper) == ("converged", np.inf)
    assert set(found.to_dict()) == {"value", "lower", "upper", "residual", "iterations", "status"}


def test_zero_empty_and_the_ends_of_the_range():
    for A in (np.zeros((3, 4)), np.zeros((0, 4)), np.zeros((0, 0))):
        found = operator_norm(A)
        assert (found.value, found.upper) == (0.0, 0.0)
    assert operator_norm(np.full((2, 2), 5e-324)).value > 0
    assert operator_norm(np.full((2, 2), 1e307)).value == pytest.approx(2e307)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: operator_norm([1.0]), "one matrix"),
        (lambda: operator_norm([[np.inf]]), "NaN"),
        (lambda: operator_norm([[1.0]], tolerance=0.0), "tolerance"),
        (lambda: operator_norm([[1.0]], tolerance=np.nan), "tolerance"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(BadInput, match=message):
        call()
