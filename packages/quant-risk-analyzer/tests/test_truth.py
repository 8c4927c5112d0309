"""Measured damage against the plain formula in float64, one full forward pass each."""

import numpy as np
import pytest
import torch

from mfi_command import BadInput
from quant_risk_analyzer import measure, quantize
from quant_risk_analyzer.texts import text_windows


def by_hand(model, layer, format, windows):
    """Mean KL and rise of the loss, from two log-softmaxes."""
    with torch.no_grad():
        before = torch.log_softmax(model(windows[:, :-1]).double(), -1)
        full = layer.weight.data
        layer.weight.data = quantize(full, format).dequantized
        after = torch.log_softmax(model(windows[:, :-1]).double(), -1)
        layer.weight.data = full
        kl = (before.exp() * (before - after)).sum(-1).mean()
        rise = (before - after).gather(-1, windows[:, 1:, None]).mean()
    return float(kl), float(rise)


@pytest.mark.parametrize("floats", [1, 2**25])
def test_each_layer_against_the_plain_formula(tiny, text, monkeypatch, floats):
    from quant_risk_analyzer import truth

    monkeypatch.setattr(truth, "FLOATS_AT_ONCE", floats)
    before = {name: value.clone() for name, value in tiny.state_dict().items()}
    found = measure(tiny, text, formats="int8,int3", max_tokens=400, context=50)
    windows = text_windows(tiny, text, windows=8, length=51)
    assert found.tokens == 400
    assert len(found.layers) == 2 * len(tiny.linear_layers())
    for each in found.layers:
        kl, rise = by_hand(tiny, tiny.linear_layers()[each.name], each.format, windows)
        assert each.kl == pytest.approx(kl, rel=1e-6), each.name
        assert each.loss_increase == pytest.approx(rise, rel=1e-5, abs=1e-12), each.name
    for name, value in tiny.state_dict().items():
        assert torch.equal(value, before[name])


def test_float32_keeps_the_digits_of_a_small_kl(tiny, text):
    exact = measure(tiny, text, formats="int8", max_tokens=300, context=50).kl("int8")
    single = measure(tiny.float(), text, formats="int8", max_tokens=300, context=50).kl("int8")
    assert max(exact.values()) < 1e-3  # the plain formula has only three digits left here
    for name, kl in exact.items():
        assert single[name] == pytest.approx(kl, rel=2e-3), name


def test_a_broken_layer_has_a_finite_kl(tiny, text):
    with torch.no_grad():
        tiny.embedding.weight.mul_(100)  # logits move by thousands: the exponential form overflows
    found = measure(tiny, text, formats="int2", max_tokens=100, context=50, layers="layers.1.*")
    windows = text_windows(tiny, text, windows=2, length=51)
    for each in found.layers:
        kl, rise = by_hand(tiny, tiny.linear_layers()[each.name], "int2", windows)
        assert np.isfinite(each.kl)
        assert each.kl == pytest.approx(kl, rel=1e-6)
        assert each.loss_increase == pytest.approx(rise, rel=1e-6)


def test_the_model_is_whole_after_an_error(tiny, text):
    name = "layers.1.up_proj"
    with torch.no_grad():
        tiny.linear_layers()[name].weight[0, 0] = float("nan")
    with pytest.raises(BadInput, match="NaN"):
        measure(tiny, text, max_tokens=100, context=50)
    assert not any("forward" in vars(layer) for layer in tiny.linear_layers().values())


def test_bad_input(tiny, text):
    with pytest.raises(BadInput, match="the text has 3 tokens, 48 too few"):
        measure(tiny, "abc", context=50)
    with pytest.raises(BadInput, match=r"no linear layer matches 'nothing\*'; the first of 12 is layers\.0"):
        measure(tiny, text, layers="nothing*")
    with pytest.raises(BadInput, match="named twice"):
        measure(tiny, text, formats="int4,int4")
