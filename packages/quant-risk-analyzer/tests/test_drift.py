"""Singular values against LAPACK; the prediction against weights that are really rounded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_risk_analyzer import drift_bound, measured_drift, predict_drift, quantize
from quant_risk_analyzer.drift import relative_drift, singular_values
from quant_risk_analyzer.noisy_spectrum import noisy_squares


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


@pytest.mark.parametrize("shape", [(160, 160), (128, 256), (256, 128)])
@pytest.mark.parametrize("format", ["int4", "int3", "fp4_e2m1"])
def test_prediction_for_a_dense_spectrum(shape, format):
    """Where neighbouring values push each other back, the formula for a lone value is wrong by a factor."""
    W = np.random.default_rng(2).standard_normal(shape) * np.linspace(0.5, 1.5, shape[0])[:, None]
    measured = measured_drift(W, quantize(W, format).dequantized)
    assert predict_drift(W, format) == pytest.approx(measured, rel=0.35)
    assert measured <= drift_bound(W, format)


@pytest.mark.parametrize("shape", [(200, 200), (100, 300)])
@pytest.mark.parametrize("spread", [0.0, 2.0])
def test_noisy_spectrum_is_that_of_simulated_noise(shape, spread):
    """The mean of several draws, over the top half; the quantiles of no noise are the clean values."""
    m, n = shape
    generator = np.random.default_rng(3)
    clean = np.exp(-spread * np.arange(m) / m) * 20
    W = np.zeros(shape)
    W[np.arange(m), np.arange(m)] = clean
    draws = [np.linalg.svd(W + generator.standard_normal(shape), compute_uv=False) for _ in range(8)]
    found = np.sqrt(noisy_squares(clean**2, 1.0, m, n))
    half = m // 2
    shift = np.mean(draws, 0)[:half] - clean[:half]
    np.testing.assert_allclose(found[:half] - clean[:half], shift, rtol=0.05, atol=0.06 * np.abs(shift).max())
    np.testing.assert_array_equal(noisy_squares(clean**2, 0.0, m, n), clean**2)


def cases(count, seed):
    """Random weights of many shapes, tails and decays, with a format each."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        shape = tuple(generator.integers(2, 24, 2))
        W = generator.standard_t(generator.integers(2, 30), shape) * 10.0 ** generator.integers(-3, 4)
        W *= np.exp(generator.uniform(0, 2) * generator.standard_normal((shape[0], 1)))
        yield W, str(generator.choice(["int8", "int4", "int3", "int2", "fp8", "nf4", "mxfp4"]))


def violations(count, seed):
    found = 0
    for W, format in cases(count, seed):
        measured = measured_drift(W, quantize(W, format).dequantized)
        found += measured > drift_bound(W, format) * (1 + 1e-9)
    return found


def test_bound_holds():
    assert violations(200, 0) == 0


@pytest.mark.slow
def test_bound_holds_in_ten_thousand_cases():
    assert violations(10_000, 1) == 0


def test_drift_of_zeros_is_zero():
    assert predict_drift(np.zeros((4, 6)), "int4") == 0
    assert drift_bound(np.zeros((4, 6)), "int4") == 0
