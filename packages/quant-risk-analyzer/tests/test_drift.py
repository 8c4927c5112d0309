"""Singular values against LAPACK; the prediction against weights that are really rounded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_risk_analyzer import measured_drift, predict_drift, quantize
from quant_risk_analyzer.drift import relative_drift, singular_values


@given(st.integers(0, 2**32), st.sampled_from([(5, 5), (12, 40), (40, 12), (1, 9)]))
def test_singular_values_are_those_of_lapack(seed, shape):
    A = np.random.default_rng(seed).standard_normal(shape)
    expected = np.linalg.svd(A, compute_uv=False)
    found = singular_values(A)
    half = (len(expected) + 1) // 2
    np.testing.assert_allclose(found[:half], expected[:half], rtol=1e-10)


def test_drift_is_the_largest_change_of_the_top_half():
    # 4 of 7 count; the last, ten times too large, does not.
    assert relative_drift([8, 6, 4, 2, 1, 1, 1], [8, 6.6, 4.2, 2, 1, 1, 10]) == pytest.approx(0.1)
    assert relative_drift([0.0, 0.0], [0.0, 0.0]) == 0


def test_drift_of_a_quantized_weight():
    W = np.random.default_rng(0).standard_normal((30, 50))
    after = quantize(W, "int3").dequantized
    s, moved = (np.linalg.svd(each, compute_uv=False)[:15] for each in (W, after))
    assert measured_drift(W, after) == pytest.approx(np.abs(moved / s - 1).max(), rel=1e-9)


@pytest.mark.parametrize("format", ["int3", "int4", "int8"])
@pytest.mark.parametrize("granularity", ["channel", 32])
def test_prediction_for_a_weight_of_low_rank(format, granularity):
    """Its values stand apart, as the formula assumes: lifted at int3, scattered at int8."""
    generator = np.random.default_rng(1)
    U, _ = np.linalg.qr(generator.standard_normal((200, 20)))
    V, _ = np.linalg.qr(generator.standard_normal((300, 20)))
    W = (U * np.geomspace(10, 1, 20)) @ V.T
    spectrum = singular_values(W)[:20]
    measured = relative_drift(
        spectrum, singular_values(quantize(W, format, granularity=granularity).dequantized)
    )
    predicted = predict_drift(W, format, granularity=granularity, spectrum=spectrum)
    assert predicted == pytest.approx(measured, rel=0.5)
