"""GPTQ against the greedy rule solved anew at each step, AWQ against rounding; both by the output's error."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from quant_risk_analyzer import quantize
from quant_risk_analyzer.compensation.awq import awq
from quant_risk_analyzer.compensation.gptq import gptq
from quant_risk_analyzer.compensation.inputs import output_error

SEED = st.integers(0, 2**32)
GRANULARITY = st.sampled_from(["channel", "tensor", 8])


def layer(seed, out=6, into=24, rank=8):
    """A weight and the second moment of inputs that are correlated and of unequal size."""
    generator = np.random.default_rng(seed)
    X = generator.standard_normal((200, rank)) @ generator.standard_normal((rank, into))
    X = (X + 0.3 * generator.standard_normal(X.shape)) * np.exp(generator.standard_normal(into))
    return generator.standard_normal((out, into)), X.T @ X / len(X)


def solved_anew(W, H, grid_of, order, damping):
    """After each column the rest is the least-squares answer given all that is rounded: no Cholesky."""
    H = H + damping * np.diag(H).mean() * np.eye(len(H))
    left = W.copy()
    for at, j in enumerate(order):
        rest = list(order[at + 1 :])
        value = grid_of(left[:, j], j)
        error = left[:, j] - value
        left[:, j] = value
        if rest:
            change = np.linalg.solve(H[np.ix_(rest, rest)], H[rest, j])
            left[:, rest] += error[:, None] * change
    return left


@given(SEED, st.booleans())
def test_gptq_is_the_greedy_rule(seed, act_order):
    W, H = layer(seed, out=3, into=12)
    steps = quantize(W, "int4").scales[:, 0]
    damped = np.diag(H) + 0.01 * np.diag(H).mean()
    order = np.argsort(-damped, kind="stable") if act_order else np.arange(12)
    expected = solved_anew(
        W, H, lambda column, j: np.clip(np.round(column / steps), -7, 7) * steps, order, 0.01
    )
    np.testing.assert_allclose(gptq(W, H, "int4", act_order=act_order), expected, atol=1e-9)


@given(SEED, GRANULARITY, st.sampled_from(["int4", "int3", "fp4_e2m1"]))
def test_gptq_beats_rounding_to_nearest(seed, granularity, name):
    W, H = layer(seed, out=32)
    plain = quantize(W, name, granularity=granularity).dequantized
    found = gptq(W, H, name, granularity=granularity)
    assert output_error(W, found, H) < output_error(W, plain, H)


@given(SEED, GRANULARITY)
def test_gptq_with_uncorrelated_inputs_is_rounding_to_nearest(seed, granularity):
    W, _ = layer(seed)
    H = np.diag(np.random.default_rng(seed).uniform(0.1, 10, W.shape[1]))
    plain = quantize(W, "int4", granularity=granularity).dequantized
    np.testing.assert_allclose(gptq(W, H, "int4", granularity=granularity), plain, atol=1e-12)


def test_inputs_that_are_always_zero_do_no_harm():
    W, H = layer(0)
    H[3], H[:, 3] = 0, 0
    found = gptq(W, H, "int4")
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[:, 3], quantize(W, "int4").dequantized[:, 3])


@given(SEED, GRANULARITY, st.sampled_from(["int4", "int3", "nf4"]))
def test_awq_is_never_worse_than_rounding_to_nearest(seed, granularity, name):
    W, H = layer(seed)
    plain = quantize(W, name, granularity=granularity).dequantized
    found = awq(W, H, name, granularity=granularity)
    assert found.plain_error == pytest.approx(output_error(W, plain, H), rel=1e-9)
    assert found.error == pytest.approx(output_error(W, found.dequantized, H), rel=1e-9)
    assert found.error <= found.plain_error


def test_awq_finds_a_planted_salient_channel():
    W, H = layer(1, out=64)
    H = H + np.diag(np.where(np.arange(24) == 5, 1e4, 0.0))
    found = awq(W, H, "int3")
    assert found.exponent > 0
    assert found.error < 0.5 * found.plain_error
    assert found.factors.argmax() == 5


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"moment": np.eye(3)}, r"\(in, in\)"),
        ({"moment": np.triu(np.ones((24, 24)))}, "symmetric"),
        ({"moment": -np.eye(24)}, "negative diagonal"),
        ({"damping": 0}, "damping=0"),
        ({"format": "mxfp4"}, "chooses its own scales"),
    ],
)
def test_bad_input(options, says):
    W, H = layer(0)
    options = {"format": "int4", **options}
    with pytest.raises(BadInput, match=says):
        gptq(W, options.pop("moment", H), options.pop("format"), **options)
