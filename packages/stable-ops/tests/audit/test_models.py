"""The audit of whole models: three families of transformers, and the model bundled with checkpoint-lens."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from stable_ops.audit import audit, load_checkpoint  # noqa: E402

SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 128,
    "tie_word_embeddings": False,
}


def tiny(family: str):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    if family == "llama":
        config = transformers.LlamaConfig(**SMALL, intermediate_size=128, num_key_value_heads=2)
        return transformers.LlamaForCausalLM(config).eval()
    if family == "opt":
        config = transformers.OPTConfig(**SMALL, ffn_dim=128, word_embed_proj_dim=64)
        return transformers.OPTForCausalLM(config).eval()
    config = transformers.GemmaConfig(**SMALL, intermediate_size=128, num_key_value_heads=2, head_dim=16)
    return transformers.GemmaForCausalLM(config).eval()


def logits(model, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(ids).logits.double()


@pytest.mark.parametrize("family", ["llama", "opt", "gemma"])
def test_a_model_of_transformers(family):
    model = tiny(family)
    ids = torch.randint(128, (1, 24), generator=torch.Generator().manual_seed(1))
    true = logits(copy.deepcopy(model).double(), ids)
    for format, dtype in (("fp16", torch.float16), ("bf16", torch.bfloat16)):
        low = logits(copy.deepcopy(model).to(dtype), ids)
        # Clean by execution: at most half of the digits are gone.
        assert float((low - true).norm() / true.norm()) < 2.0 ** (-(11 if format == "fp16" else 8) / 2)
        report = audit(model, ids, formats=[format])
        assert report.operations >= 20
        assert report.hazards == ()
    weight = model.lm_head.weight
    with torch.no_grad():
        weight.copy_(torch.full_like(weight, 6e4).copysign(weight))
    assert not logits(copy.deepcopy(model).half(), ids).isfinite().all()
    found = audit(model, ids, formats=["fp16"]).hazards
    assert {h.where for h in found if h.kind == "overflow"} == {"lm_head"}


def test_the_bundled_model():
    pytest.importorskip("checkpoint_lens")
    model, (ids,) = load_checkpoint("reference", tokens=64)
    report = audit(model, ids)
    assert report.hazards == ()
    with torch.no_grad():
        true, low = model(ids), copy.deepcopy(model).bfloat16()(ids).float()
    # What the audit says is true: bfloat16 keeps the model's choices.
    agree = float((true.argmax(-1) == low.argmax(-1)).float().mean())
    assert agree > 0.9
    narrow = audit(model, ids, formats=["fp8_e5m2"])
    assert {h.kind for h in narrow.hazards} >= {"absorption"}
    assert all(h.where.startswith("model.layers.") for h in narrow.hazards if h.kind == "absorption")
    assert all(np.isfinite(h.bits_lost) and h.fix for h in narrow.hazards)
