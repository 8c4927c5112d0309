"""Iterations against LAPACK, conditions against mpmath and against a perturbation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from stable_ops import eigenvalue_condition, inverse_iteration, power_iteration, rayleigh_iteration


def with_eigenvalues(seed: int, values: np.ndarray, *, symmetric: bool) -> np.ndarray:
    rng = np.random.default_rng(seed)
    n = values.size
    basis, _ = np.linalg.qr(rng.standard_normal((n, n)))
    if not symmetric:
        basis = basis + 0.3 * rng.standard_normal((n, n)) / np.sqrt(n)
    return basis @ np.diag(values) @ np.linalg.inv(basis)


@given(st.integers(0, 2**32), st.integers(2, 30), st.booleans())
def test_power_iteration_finds_the_largest(seed, n, symmetric):
    values = np.concatenate([[-3.0], np.random.default_rng(seed).uniform(-2.5, 2.5, n - 1)])
    A = with_eigenvalues(seed, values, symmetric=symmetric)
    result = power_iteration(A)
    assert result.converged
    assert result.equal_moduli is None
    assert result.value == pytest.approx(-3.0, rel=1e-7)
    assert np.linalg.norm(A @ result.vector - result.value * result.vector) == pytest.approx(
        result.residual, abs=1e-12
    )
    assert np.linalg.norm(result.vector) == pytest.approx(1)


@pytest.mark.parametrize(
    ("values", "converged"),
    [([2.0, -2.0, 1.0], False), ([2.0, 2.0, 1.0], True), ([-2.0, -2.0, 1.9], True), ([5.0, -5.0], False)],
)
def test_a_pair_of_equal_moduli_is_reported(values, converged):
    A = with_eigenvalues(3, np.array(values), symmetric=True)
    result = power_iteration(A)
    assert result.equal_moduli is not None
    assert sorted(result.equal_moduli) == pytest.approx(sorted(values[:2]), rel=1e-6)
    assert result.converged is converged
    assert result.status == ("converged" if converged else "equal moduli")
    assert result.to_dict()["status"] == result.status
    np.testing.assert_allclose(A @ result.vector, result.value * result.vector, atol=1e-5)


def test_a_complex_pair_is_reported():
    turn = np.array([[0.6, -0.8, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 0.5]])
    result = power_iteration(turn)
    assert not result.converged
    assert np.sort_complex(np.array(result.equal_moduli)) == pytest.approx(np.array([0.6 - 0.8j, 0.6 + 0.8j]))
    np.testing.assert_allclose(turn @ result.vector, result.value * result.vector, atol=1e-8)


def test_close_but_unequal_moduli_are_not_a_pair():
    result = power_iteration(np.diag([2.0, 1.99, 1.0]))
    assert result.converged
    assert result.equal_moduli is None


def test_a_run_that_is_too_short_says_so():
    result = power_iteration(np.diag([2.0, 1.99, 1.0]), max_iterations=5)
    assert not result.converged
    assert result.status == "too few iterations"
    assert result.statistics == {"iterations": 5, "residual": result.residual}


@given(st.integers(0, 2**32), st.integers(2, 30), st.booleans(), st.floats(-3, 3))
def test_inverse_iteration_finds_the_nearest(seed, n, symmetric, shift):
    values = np.arange(n) * 0.7 - 2.0
    A = with_eigenvalues(seed, values, symmetric=symmetric)
    distances = np.sort(np.abs(values - shift))
    result = inverse_iteration(A, shift, max_iterations=2000)
    if distances[1] - distances[0] > 0.05:
        assert result.converged
        assert result.value == pytest.approx(values[np.argmin(np.abs(values - shift))], abs=1e-7)


def test_a_shift_that_is_an_eigenvalue():
    result = inverse_iteration(np.diag([1.0, 2.0, 3.0]), 2.0)
    assert result.converged
    assert result.value == pytest.approx(2.0, rel=1e-12)
    assert inverse_iteration([[0.0]], 0.0).value == 0.0


@given(st.integers(0, 2**32), st.integers(1, 30))
def test_rayleigh_iteration_finds_an_eigenvalue_in_few_steps(seed, n):
    A = with_eigenvalues(seed, np.linspace(-2, 3, n), symmetric=True)
    result = rayleigh_iteration(A, seed=seed)
    assert result.converged
    assert result.iterations <= 15
    assert np.min(np.abs(np.linalg.eigvalsh(A) - result.value)) < 1e-12


def test_rayleigh_iteration_converges_cubically():
    A = with_eigenvalues(1, np.linspace(1, 2, 8), symmetric=True)
    _, vectors = np.linalg.eigh(A)
    start = vectors[:, 3] + 0.05 * vectors[:, 0] + 0.05 * vectors[:, 5]
    errors = [rayleigh_iteration(A, start=start, max_iterations=k, tolerance=1e-300).residual for k in (1, 2)]
    assert errors[1] < 20 * errors[0] ** 3 + 1e-14


def test_a_real_start_cannot_reach_a_complex_pair():
    result = rayleigh_iteration([[0.0, -1.0], [1.0, 0.0]])
    assert not result.converged
    assert result.iterations == 100


def grcar(n: int) -> np.ndarray:
    return sum(np.eye(n, k=k) for k in range(4)) - np.eye(n, k=-1)


def wilkinson(n: int) -> np.ndarray:
    """Wilkinson's bidiagonal matrix: n, n - 1, ..., 1 with n above the diagonal."""
    return np.diag(np.arange(n, 0.0, -1)) + n * np.eye(n, k=1)


@pytest.mark.parametrize(
    "A", [grcar(12), wilkinson(12), wilkinson(20)], ids=["grcar", "wilkinson 12", "wilkinson 20"]
)
def test_conditions_are_the_textbooks(A):
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(60):
        values, left, right = mpmath.eig(mpmath.matrix(A.tolist()), left=True, right=True)
        expected = {}
        for i, value in enumerate(values):
            y, x = left[i, :], right[:, i]
            product = abs((y * x)[0])
            expected[complex(value)] = float(mpmath.norm(y) * mpmath.norm(x) / product)
    result = eigenvalue_condition(A)
    for value, condition in zip(result.values, result.conditions, strict=True):
        nearest = min(expected, key=lambda v: abs(v - value))
        assert condition == pytest.approx(expected[nearest], rel=1e-6)


def test_a_condition_predicts_the_drift():
    A = wilkinson(8)
    result = eigenvalue_condition(A)
    rng = np.random.default_rng(0)
    change = 1e-10 * rng.standard_normal(A.shape)
    moved = np.linalg.eigvals(A + change)
    for value, condition in zip(result.values, result.conditions, strict=True):
        assert np.min(np.abs(moved - value)) <= 1.01 * condition * np.linalg.norm(change, 2)


def test_normal_and_defective():
    assert eigenvalue_condition(np.diag([1.0, 2.0])).conditions.tolist() == [1, 1]
    assert (eigenvalue_condition([[1.0, 1.0], [0.0, 1.0]]).conditions > 1e7).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: power_iteration(np.zeros((2, 3))), "square"),
        (lambda: power_iteration(np.zeros((0, 0))), "square"),
        (lambda: power_iteration([[np.nan]]), "NaN"),
        (lambda: power_iteration([[1.0]], tolerance=0.0), "tolerance"),
        (lambda: power_iteration([[1.0]], max_iterations=0), "max_iterations"),
        (lambda: inverse_iteration([[1.0]], np.inf), "shift"),
        (lambda: rayleigh_iteration(np.eye(2), start=[0.0, 0.0]), "start"),
        (lambda: rayleigh_iteration(np.eye(2), start=[1.0]), "start"),
        (lambda: eigenvalue_condition([1.0]), "square"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(BadInput, match=message):
        call()
