"""The model that is trained computes what transformers computes from the same weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType

import pytest

Recipe = Callable[[str], ModuleType]


def test_logits_agree_with_transformers(recipe: Recipe) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    config = {**recipe("shape").CONFIG, "vocab_size": 300, "num_hidden_layers": 2}
    config.pop("torch_dtype")
    torch.manual_seed(1)
    model = recipe("model").Llama(config).double().eval()
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config)).double().eval()
    missing = theirs.load_state_dict(model.state_dict(), strict=False)
    assert (missing.missing_keys, missing.unexpected_keys) == (["lm_head.weight"], [])
    ids = torch.randint(0, 300, (2, 100))
    with torch.inference_mode():
        ours, expected = model(ids), theirs(ids).logits
    # transformers rounds its rotary tables to float32.
    assert float((ours - expected).abs().max()) < 1e-5 * float(expected.abs().max())


def test_untrained_weights_begin_at_a_uniform_guess(recipe: Recipe) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(2)
    model = recipe("model").Llama(recipe("shape").CONFIG).eval()
    ids = torch.randint(0, 8064, (1, 65))
    with torch.inference_mode():
        loss = torch.nn.functional.cross_entropy(model(ids[:, :-1])[0], ids[0, 1:])
    assert abs(float(loss) - math.log(8064)) < 0.2
