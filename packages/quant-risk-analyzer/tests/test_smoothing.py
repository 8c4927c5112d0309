"""Migrating a factor keeps what is computed; the factors are the published ones."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mfi_command import BadInput
from quant_risk_analyzer import migrate, quantize, smoothing_factors


@given(st.integers(0, 2**32), st.floats(0, 1), st.floats(-10, 10))
def test_factors_balance_weights_and_inputs(seed, strength, exponent):
    generator = np.random.default_rng(seed)
    weights = [generator.standard_normal((rows, 12)) * 10.0**exponent for rows in (3, 7)]
    inputs = np.abs(generator.standard_normal(12)) + 0.01
    factors = smoothing_factors(weights, inputs, strength=strength)
    largest = np.maximum(np.abs(weights[0]).max(0), np.abs(weights[1]).max(0))
    # The product of both sizes is shared out between them, a part `strength` to the weights.
    np.testing.assert_allclose(np.log(largest * factors), strength * np.log(inputs * largest), atol=1e-9)
    np.testing.assert_allclose(np.log(inputs / factors), (1 - strength) * np.log(inputs * largest), atol=1e-9)


def test_a_channel_without_weights_or_inputs_stays():
    weights = [np.array([[0.0, 4.0, 4.0]])]
    assert smoothing_factors(weights, np.array([1.0, 0.0, 1.0])).tolist() == [1.0, 1.0, 0.5]


@pytest.mark.parametrize("linear", [False, True])
def test_the_outputs_stay(linear):
    torch.manual_seed(1)
    producer = nn.Linear(5, 8) if linear else nn.LayerNorm(8)
    with torch.no_grad():
        producer.bias.normal_()
    consumers = [nn.Linear(8, 6), nn.Linear(8, 3, bias=False)]
    x = torch.randn(20, 5 if linear else 8)
    before = [layer(producer(x)) for layer in consumers]
    factors = np.random.default_rng(0).uniform(0.2, 5, 8)
    migrate(factors, producer=producer, consumers=consumers)
    for layer, expected in zip(consumers, before, strict=True):
        torch.testing.assert_close(layer(producer(x)), expected, rtol=1e-5, atol=1e-5)


def test_smoothing_takes_a_planted_outlier_back():
    torch.manual_seed(2)
    norm, layer = nn.LayerNorm(256), nn.Linear(256, 64)
    clean = quantize(layer.weight, "int4").relative_error
    planted = np.ones(256)
    planted[7] = 32
    migrate(planted, producer=norm, consumers=[layer])
    # Noise relative to the other columns, which the outlier does not drown.
    rest = [at for at in range(256) if at != 7]

    def noise():
        weight = layer.weight.detach()
        rounded = quantize(weight, "int4").dequantized
        return float((rounded - weight)[:, rest].norm() / weight[:, rest].norm())

    broken = noise()
    inputs = np.ones(256) / planted
    migrate(smoothing_factors([layer.weight.detach().numpy()], inputs), producer=norm, consumers=[layer])
    assert broken > 3 * clean
    assert noise() < 1.1 * clean


def test_bad_input_changes_nothing():
    norm, layer = nn.LayerNorm(4), nn.Linear(4, 2)
    kept = copy.deepcopy(layer.weight)
    for factors in (np.ones(3), np.array([1, 1, 0, 1.0]), np.array([1, np.nan, 1, 1.0])):
        with pytest.raises(BadInput):
            migrate(factors, producer=norm, consumers=[layer])
    assert torch.equal(layer.weight, kept)
    for weights, inputs, strength in (
        ([np.ones((2, 3))], np.ones(4), 0.5),
        ([np.ones((2, 4))], -np.ones(4), 0.5),
        ([np.ones((2, 4))], np.ones(4), 1.5),
        ([], np.ones(4), 0.5),
    ):
        with pytest.raises(BadInput):
            smoothing_factors(weights, inputs, strength=strength)
