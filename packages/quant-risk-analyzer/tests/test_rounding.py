"""A model with rounded weights is that, and is itself again afterwards."""

import pytest
import torch

from mfi_command import BadInput
from quant_risk_analyzer import quantize, rounded_weights


def test_named_layers_are_rounded_and_restored(tiny):
    ids = torch.arange(12).reshape(1, -1)
    name = "layers.0.q_proj"
    full = {key: layer.weight.clone() for key, layer in tiny.linear_layers().items()}
    before = tiny(ids)

    def fails_inside():
        with rounded_weights(tiny, {name: "int3"}, granularity=8):
            for key, layer in tiny.linear_layers().items():
                kept = full[key]
                expected = quantize(kept, "int3", granularity=8).dequantized if key == name else kept
                assert torch.equal(layer.weight, expected), key
            assert not torch.equal(tiny(ids), before)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails_inside()
    assert torch.equal(tiny(ids), before)


@pytest.mark.parametrize(
    "assignment", [{"nothing": "int4"}, {"layers.0.q_proj": "int4", "layers.0.k_proj": "int9"}]
)
def test_a_wrong_name_or_format_changes_nothing(tiny, assignment):
    before = tiny(torch.arange(12).reshape(1, -1))
    with pytest.raises(BadInput), rounded_weights(tiny, assignment):
        pass
    assert torch.equal(tiny(torch.arange(12).reshape(1, -1)), before)
