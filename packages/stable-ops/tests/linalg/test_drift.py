"""Predicted changes of singular values and eigenvalues against those that LAPACK finds after the change."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from stable_ops.fp import round_to
from stable_ops.linalg import eigenvalue_drift, singular_value_drift


def draw(seed: int, shape: tuple[int, int], power: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape), 10.0**power * rng.standard_normal(shape)


@given(st.integers(0, 2**32), st.sampled_from([(6, 6), (12, 5), (5, 12), (1, 4), (1, 1)]), st.floats(-9, -1))
def test_singular_values_move_as_predicted(seed, shape, power):
    A, E = draw(seed, shape, power)
    drift = singular_value_drift(A, E)
    moved = np.linalg.svd(A + E, compute_uv=False)
    change = moved - drift.values
    noise = 1e-14 * (drift.values[0] + drift.size)
    np.testing.assert_allclose(drift.values, np.linalg.svd(A, compute_uv=False), atol=noise)
    assert (np.abs(change) <= drift.limit + noise).all()
    error = np.abs(change - drift.change)
    assert (error <= drift.remainder + noise).all()
    assert drift.size == pytest.approx(np.linalg.norm(E, 2))


def test_the_prediction_is_first_order():
    """Ten times the change, a hundred times the error."""
    A, E = draw(3, (8, 6), 0)
    errors = []
    for size in (1e-3, 1e-4, 1e-5):
        drift = singular_value_drift(A, size * E)
        moved = np.linalg.svd(A + size * E, compute_uv=False)
        errors.append(np.abs(moved - drift.values - drift.change).max())
    assert 50 < errors[0] / errors[1] < 200
    assert 50 < errors[1] / errors[2] < 200
    assert errors[2] < 1e-6 * np.abs(1e-5 * E).max() / 1e-5


def test_the_remainder_is_not_idle():
    A, E = draw(5, (8, 8), -4)
    drift = singular_value_drift(A, E)
    error = np.abs(np.linalg.svd(A + E, compute_uv=False) - drift.values - drift.change)
    assert np.isfinite(drift.remainder).all()
    assert (error / drift.remainder).max() > 1e-3
    assert drift.remainder.max() < np.abs(drift.change).max()


def test_a_weight_rounded_to_bf16():
    W = np.random.default_rng(0).standard_normal((48, 32))
    E = round_to(W, "bf16") - W
    drift = singular_value_drift(W, E)
    moved = np.linalg.svd(W + E, compute_uv=False) - drift.values
    known = np.isfinite(drift.remainder)
    assert known.sum() >= 24
    assert (np.abs(moved - drift.change)[known] <= drift.remainder[known] + 1e-13).all()
    assert np.corrcoef(moved, drift.change)[0, 1] > 0.99


def test_equal_singular_values_have_the_limit_only():
    drift = singular_value_drift(np.eye(3), 1e-3 * np.ones((3, 3)))
    assert np.isinf(drift.remainder).all()
    assert drift.limit == pytest.approx(np.full(3, 3e-3))


@given(st.integers(0, 2**32), st.integers(1, 10), st.floats(-12, -7))
def test_eigenvalues_move_as_predicted(seed, n, power):
    A, E = draw(seed, (n, n), power)
    drift = eigenvalue_drift(A, E)
    moved = np.linalg.eigvals(A + E)
    condition = drift.limit / drift.size
    for value, change, limit, remainder, c in zip(
        drift.values, drift.change, drift.limit, drift.remainder, condition, strict=True
    ):
        nearest = moved[np.argmin(np.abs(moved - value - change))]
        noise = 1e-13 * c * np.linalg.norm(A)
        if limit < 1e-3:  # else the eigenvalue is next to another
            assert abs(nearest - value) <= 1.1 * limit + noise
            assert abs(nearest - value - change) <= 3 * remainder + 0.1 * limit**2 / 1e-3 + noise


def test_a_symmetric_matrix_has_rayleigh_quotients():
    A, E = draw(1, (7, 7), -6)
    A, E = A + A.T, E + E.T
    drift = eigenvalue_drift(A, E)
    _, vectors = np.linalg.eigh(A)
    order = np.argsort(drift.values.real)
    np.testing.assert_allclose(drift.change[order].real, np.diag(vectors.T @ E @ vectors), atol=1e-16)
    np.testing.assert_allclose(drift.limit, drift.size, rtol=1e-9)


def test_an_ill_conditioned_eigenvalue_moves_far():
    """Wilkinson's: a change of 1e-10 in one corner, and the prediction has its size and sign."""
    n = 10
    A = np.diag(np.arange(n, 0.0, -1)) + n * np.eye(n, k=1)
    E = np.zeros((n, n))
    E[-1, 0] = 1e-10
    drift = eigenvalue_drift(A, E)
    moved = np.sort(np.linalg.eigvals(A + E).real)
    order = np.argsort(drift.values.real)
    np.testing.assert_allclose(moved - drift.values[order].real, drift.change[order].real, rtol=0.2)
    assert np.abs(drift.change).max() > 1e4 * drift.size


def test_a_defective_matrix_has_no_limit():
    drift = eigenvalue_drift([[1.0, 1.0], [0.0, 1.0]], [[0.0, 0.0], [1e-8, 0.0]])
    assert (drift.limit > 1e-8 / 1e-8).all()
    assert not (drift.remainder < 1e-4).any()


def test_tensors_and_dict():
    torch = pytest.importorskip("torch")
    A = torch.eye(2) * torch.tensor([2.0, 1.0])
    fields = singular_value_drift(A, 0.01 * torch.eye(2)).to_dict()
    assert fields["change"] == pytest.approx([0.01, 0.01])
    assert eigenvalue_drift(A, A).to_dict()["values"] == [[2.0, 0.0], [1.0, 0.0]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: singular_value_drift([[1.0]], [[1.0, 2.0]]), "one shape"),
        (lambda: singular_value_drift([1.0], [1.0]), "one shape"),
        (lambda: singular_value_drift(np.zeros((0, 2)), np.zeros((0, 2))), "one shape"),
        (lambda: singular_value_drift([[np.nan]], [[1.0]]), "NaN"),
        (lambda: eigenvalue_drift([[1.0, 2.0]], [[1.0, 2.0]]), "square"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(BadInput, match=message):
        call()
