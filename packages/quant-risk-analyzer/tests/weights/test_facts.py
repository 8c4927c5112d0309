"""Facts of one matrix against numpy in float64 on the whole of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_risk_analyzer import quantize
from quant_risk_analyzer.formats import format_named
from quant_risk_analyzer.weights import facts
from quant_risk_analyzer.weights.facts import matrix_facts

SHAPES = st.sampled_from([(64, 48), (7, 200), (1, 16), (300, 3)])


def of(W, *names, granularity="channel"):
    return matrix_facts("w", W, "float32", [format_named(name) for name in names], granularity)


PAIRS = st.sampled_from([("int4", "nf4"), ("fp8_e4m3", "mxfp4")])


@given(st.integers(0, 2**32), SHAPES, st.sampled_from(["channel", "tensor", 16]), PAIRS)
def test_errors_are_those_of_quantize(seed, shape, granularity, names):
    W = np.random.default_rng(seed).standard_t(4, shape).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(facts, "PART", 128)  # several parts, the last one short
        found = of(W, *names, granularity=granularity)
    for name in names:
        expected = quantize(W, name, granularity=granularity)
        assert found.formats[name].relative_error == pytest.approx(expected.relative_error, rel=1e-4)
        rows = np.linalg.norm(expected.dequantized - W, axis=1) / np.linalg.norm(W, axis=1)
        assert found.formats[name].worst_row_error == pytest.approx(rows.max(), rel=1e-4)


@given(st.integers(0, 2**32), SHAPES)
def test_moments_and_norm(seed, shape):
    W = np.random.default_rng(seed).standard_t(6, shape).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(facts, "PART", 128)
        found = of(W, "int8")
    wide = W.astype(np.float64)
    assert found.root_mean_square == pytest.approx(np.sqrt((wide**2).mean()), rel=1e-5)
    assert found.kurtosis == pytest.approx((wide**4).mean() / (wide**2).mean() ** 2, rel=1e-4)
    assert found.largest == np.abs(W).max()
    norm = np.linalg.norm(wide, 2)
    assert 0.85 * norm < found.spectral_norm <= norm * (1 + 1e-5)
    assert found.stable_rank == pytest.approx((wide**2).sum() / found.spectral_norm**2, rel=1e-4)


def test_planted_outlier_channels_are_counted():
    W = np.random.default_rng(0).standard_normal((40, 60)).astype(np.float32)
    W[:, 7] *= 20
    W[3] *= 30
    found = of(W, "int4")
    assert (found.outlier_inputs, found.outlier_outputs) == (1, 1)


def test_not_a_number_is_counted_and_nothing_else_said():
    W = np.ones((5, 6), np.float32)
    W[2, 3], W[4, 0] = np.nan, np.inf
    found = of(W, "int4")
    assert found.invalid == 2
    assert found.formats == {}
    assert np.isnan(found.kurtosis)


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e25])
def test_extreme_sizes(size):
    W = (np.random.default_rng(0).standard_normal((8, 8)) * size).astype(np.float32)
    found = of(W, "int4")
    assert np.isfinite(found.formats["int4"].relative_error)
    assert np.isfinite(found.kurtosis)
