"""compress on a GPU: what is not measured faster there at one token stays dense, unless told otherwise."""

import pytest
import torch

pytest.importorskip("triton")
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
SMALL = {"context": 64, "calibration_tokens": 1536, "evaluation_tokens": 512, "device": "cuda", "energy": 0.5}


def test_by_default_every_factored_layer_was_measured_faster_at_one_token(tiny, texts):
    from svd_compress import compress

    asked = compress(tiny, **texts, faster_at=0, multiple=8, **SMALL)
    assert asked.feasible
    assert asked.faster_at == 0
    # Layers of 48 columns gain nothing on a GPU, and aligned to 64 they have no rank at all.
    found = compress(tiny, **texts, multiple=8, **SMALL)
    assert found.faster_at == 1
    for layer in found.layers:
        assert layer.rank is None or layer.speed_up.low > 1.0
    assert not compress(tiny, **texts, **SMALL).feasible


def test_a_wide_layer_is_factored_where_it_is_faster(texts, tmp_path):
    from svd_compress import compress

    model = wide(tmp_path / "model")
    found = compress(model, **texts, layer="*mlp*", **SMALL)
    assert found.faster_at == 1
    assert found.feasible
    for layer in found.layers:
        assert layer.rank is None or (layer.rank % 64 == 0 and layer.speed_up.low > 1.0)


def wide(folder):
    """One block with a feed-forward part of a size that low rank makes faster on a large GPU."""
    import json

    from safetensors.torch import save_file
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    hidden, inner = 2048, 8192
    shapes = {f"self_attn.{part}_proj": (hidden, hidden) for part in "qkvo"}
    shapes |= {f"mlp.{part}_proj": (inner, hidden) for part in ("gate", "up")}
    shapes["mlp.down_proj"] = (hidden, inner)
    generator = torch.Generator().manual_seed(0)
    tensors = {
        f"model.layers.0.{name}.weight": torch.randn(shape, generator=generator) / shape[1] ** 0.5
        for name, shape in shapes.items()
    }
    tensors["model.embed_tokens.weight"] = torch.randn(256, hidden, generator=generator) / 8
    for norm in ("layers.0.input_layernorm", "layers.0.post_attention_layernorm", "norm"):
        tensors[f"model.{norm}.weight"] = torch.ones(hidden)
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 256,
        "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": 1,
        "num_attention_heads": 16, "num_key_value_heads": 16, "max_position_embeddings": 256,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": True,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    alphabet = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
