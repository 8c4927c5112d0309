"""Activations and caches: which numbers share a scale."""

import numpy as np
import pytest
import torch

from mfi_command import BadInput
from quant_risk_analyzer import quantize
from quant_risk_analyzer.activations import round_cache, round_tokens, rounded_inputs


@pytest.mark.parametrize("name", ["int8", "fp8_e4m3", "int4"])
def test_each_token_has_its_own_scale(name):
    x = np.random.default_rng(0).standard_normal((2, 5, 16)).astype(np.float32)
    x[1, 3] *= 1000
    found = round_tokens(x, name)
    for row, token in zip(found.reshape(10, 16), x.reshape(10, 16), strict=True):
        np.testing.assert_array_equal(row, quantize(token[None], name).dequantized[0])
    np.testing.assert_array_equal(found, round_tokens(torch.tensor(x), name).numpy())


def test_a_channel_outlier_of_the_keys_costs_others_nothing():
    keys = np.random.default_rng(1).standard_normal((2, 3, 32, 8)).astype(np.float32)
    keys[..., 2] *= 100
    by_channel, by_token = (round_cache(keys, "int4", axis=axis) for axis in ("channel", "token"))
    rest = np.arange(8) != 2
    errors = [np.abs(found - keys)[..., rest].mean() for found in (by_channel, by_token)]
    assert errors[0] < 0.3 * errors[1]
    part = round_cache(keys, "int4", axis="channel", group=16)[0, 0, :16, 5]
    np.testing.assert_array_equal(part, quantize(keys[0, 0, :16, 5][None], "int4").dequantized[0])


def test_inputs_are_rounded_inside_and_not_after():
    layer = torch.nn.Linear(8, 4)
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    before = layer(x)
    with rounded_inputs({"a": layer}, "int4"):
        torch.testing.assert_close(layer(x), layer.forward(round_tokens(x, "int4")))
        assert not torch.equal(layer(x), before)
    torch.testing.assert_close(layer(x), before, rtol=0, atol=0)


def test_bad_caches_are_refused():
    with pytest.raises(BadInput, match="tokens, head size"):
        round_cache(np.ones(3), "int8")
    with pytest.raises(BadInput, match="'token' or 'channel'"):
        round_cache(np.ones((3, 4)), "int8", axis="head")
