"""Logits one position at a time against those of the whole sequence."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from checkpoint_lens import load_model  # noqa: E402
from checkpoint_lens.foreign import ForeignLM  # noqa: E402

SHARED = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
KINDS = {
    "opt": {**SHARED, "word_embed_proj_dim": 16, "ffn_dim": 24, "max_position_embeddings": 32},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32},
    "gpt_neox": SHARED,
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2},
    "bert": {**SHARED, "is_decoder": True},
    "mixtral": {**SHARED, "num_key_value_heads": 1, "num_local_experts": 2},
    "gemma": {**SHARED, "num_key_value_heads": 1, "head_dim": 8},
}


def test_of_a_llama(write_llama):
    _check(load_model(write_llama(num_attention_heads=4, num_key_value_heads=2)))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_of_transformers(kind):
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, vocab_size=40, pad_token_id=None, **KINDS[kind])
    inner = transformers.AutoModelForCausalLM.from_config(config).eval()
    _check(ForeignLM(inner, config=config.to_dict(), tokenizer=None))


def _check(model):
    ids = torch.randint(0, 40, (3, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = model(ids)
        got, state = model.next_logits(ids[:, :4])
        torch.testing.assert_close(got, whole[:, 3], atol=1e-5, rtol=1e-4)
        for at in range(4, 9):
            got, state = model.next_logits(ids[:, at : at + 1], state)
            torch.testing.assert_close(got, whole[:, at], atol=1e-5, rtol=1e-4)


def test_a_model_without_a_cache_has_none():
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model("bert", vocab_size=40, **SHARED)
    inner = transformers.AutoModelForMaskedLM.from_config(config).eval()
    assert (
        ForeignLM(inner, config={}, tokenizer=None).next_logits(torch.zeros(1, 2, dtype=torch.int64)) is None
    )
