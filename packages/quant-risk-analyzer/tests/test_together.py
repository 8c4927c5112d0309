"""All layers at once against the same model with its weights replaced by hand."""

import copy

import pytest
import torch

from mfi_command import BadInput
from quant_risk_analyzer import measure_together, quantize
from quant_risk_analyzer.texts import text_windows


def test_kl_and_loss_are_those_of_the_changed_model(tiny, text):
    names = ["layers.0.q_proj", "layers.1.down_proj"]
    assignment = dict(zip(names, ("int3", "int4"), strict=True))
    found = measure_together(tiny, text, assignment, granularity=8, max_tokens=320, context=40)
    changed = copy.deepcopy(tiny)
    with torch.no_grad():
        for name, kind in assignment.items():
            weight = changed.linear_layers()[name].weight
            weight.copy_(quantize(weight.detach(), kind, granularity=8).dequantized)
        ids = text_windows(tiny, text, windows=8, length=41)
        p, q = (torch.log_softmax(model(ids[:, :-1]), -1) for model in (tiny, changed))
    assert found.kl == pytest.approx(float((p.exp() * (p - q)).sum(-1).mean()), rel=1e-9)
    targets = ids[:, 1:, None]
    assert found.loss == pytest.approx(-float(p.gather(-1, targets).mean()))
    rise = float((p - q).gather(-1, targets).mean())
    assert found.loss_increase == pytest.approx(rise, rel=1e-6)
    assert found.tokens == 320
    assert found.to_dict()["perplexity"] == pytest.approx(2.718281828459045 ** (found.loss + rise))


def test_bad_input(tiny, text):
    with pytest.raises(BadInput, match="no linear layer 'nowhere'"):
        measure_together(tiny, text, {"nowhere": "int4"}, context=40)
    with pytest.raises(BadInput, match="too few"):
        measure_together(tiny, text[:60], {}, context=40)
