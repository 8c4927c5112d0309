"""Eigenvalues against numpy; the prediction against matrices that get noise, and that are rounded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_risk_analyzer import measured_eigenvalue_drift, predict_eigenvalue_drift, quantize
from quant_risk_analyzer.eigenvalue_drift import (
    Eigensystem,
    eigenvalues,
    predicted_from,
    relative_eigenvalue_drift,
)

SIDE = 48


@given(st.integers(0, 2**32), st.integers(1, 12))
def test_eigensystem_is_one(seed, n):
    A = np.random.default_rng(seed).standard_normal((n, n))
    found = Eigensystem.of(A)
    np.testing.assert_allclose(
        np.sort(np.abs(found.values)), np.sort(np.abs(np.linalg.eigvals(A))), rtol=1e-8
    )
    assert (np.diff(np.abs(eigenvalues(A))) <= 1e-12).all()
    np.testing.assert_allclose(A @ found.right, found.right * found.values, atol=1e-9 * np.abs(A).max() * n)
    # A nearly defective draw loses digits in the inverse: its condition says how many.
    digits = 1e-13 * np.linalg.cond(found.right)
    np.testing.assert_allclose(found.left @ found.right, np.eye(n), atol=max(1e-9, digits))


def test_drift_pairs_in_the_plane():
    # By modulus alone nothing moved; 1j went to -1j's place only in the order of the list.
    before = np.array([4.0, 2j, -2j, 0.1])
    assert relative_eigenvalue_drift(before, np.array([4.0, -2j, 2j, 0.1])) == 0
    # A turn by 90 degrees keeps every modulus: the pair counts, the small one does not.
    assert relative_eigenvalue_drift(before, before * np.exp(0.1j)) == pytest.approx(2 * np.sin(0.05))
    assert relative_eigenvalue_drift(before, np.array([4.0, 2.2j, -2j, 0.5])) == pytest.approx(0.1)
    assert relative_eigenvalue_drift(np.zeros(3), np.zeros(3)) == 0


def draws(W, deviations, count=9):
    generator = np.random.default_rng(1)
    system = Eigensystem.of(W)
    noisy = [W + deviations[:, None] * generator.standard_normal(W.shape) for _ in range(count)]
    return system, np.median([measured_eigenvalue_drift(W, each, spectrum=system.values) for each in noisy])


@pytest.mark.parametrize("kind", ["normal", "skewed", "rows"])
def test_first_order_is_the_median_over_noise(kind):
    """A symmetric matrix, one whose eigenvectors are far from orthogonal, and noise in a few rows alone."""
    generator = np.random.default_rng(2)
    W = generator.standard_normal((SIDE, SIDE))
    deviations = np.full(SIDE, 1e-5)
    if kind == "normal":
        W = W + W.T
    if kind == "skewed":
        W *= np.exp(generator.standard_normal((SIDE, 1)))
    if kind == "rows":
        deviations[4:] = 0
    system, measured = draws(W, deviations)
    predicted = predicted_from(system, np.ones(SIDE), deviations**2)
    assert predicted == pytest.approx(measured, rel=0.35)
    # Without the conditions of the eigenvalues the skewed one would be far off, without the rows the last.
    flat = 1e-5 * np.sqrt((deviations > 0).mean()) / np.abs(system.values[: SIDE // 2]).min()
    assert kind == "normal" or predicted > 2 * flat


def test_large_noise_cannot_move_past_what_is_paired():
    W = np.random.default_rng(3).standard_normal((SIDE, SIDE))
    system, measured = draws(W, np.full(SIDE, 0.2))
    predicted = predicted_from(system, np.ones(SIDE), np.full(SIDE, 0.04))
    assert predicted == pytest.approx(measured, rel=0.5)


@pytest.mark.parametrize("format", ["int8", "int4", "int3"])
@pytest.mark.parametrize("granularity", ["channel", "tensor", 16])
def test_prediction_for_a_rounded_weight(format, granularity):
    W = np.random.default_rng(4).standard_normal((SIDE, SIDE)) * np.linspace(0.5, 1.5, SIDE)[:, None]
    measured = measured_eigenvalue_drift(W, quantize(W, format, granularity=granularity).dequantized)
    assert predict_eigenvalue_drift(W, format, granularity=granularity) == pytest.approx(measured, rel=0.6)


def test_a_shrunken_matrix_moves_by_the_share_it_lost():
    system = Eigensystem.of(np.diag([3.0, 2.0, 1.0]))
    assert predicted_from(system, np.full(3, 0.99), np.zeros(3)) == pytest.approx(0.01, rel=0.6)


def test_edges_are_finite():
    assert predict_eigenvalue_drift(np.zeros((4, 4)), "int4") == 0
    assert predict_eigenvalue_drift(np.array([[3.0]]), "int4") == 0
    jordan = np.eye(6) + np.diag(np.full(5, 0.37), 1)
    assert np.isfinite(predict_eigenvalue_drift(jordan, "int3"))
