"""Inventories of checkpoints as transformers and others write them: all counted, the right way around."""

import json
import math

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from checkpoint_lens import open_checkpoint, read_tensor, weight_matrices
from mfi_command import BadInput

SHARED = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 40}
LLAMA_LIKE = {
    **SHARED,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "head_dim": 4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SMALL = {
    "opt": {**SHARED, "ffn_dim": 32, "word_embed_proj_dim": 16, "max_position_embeddings": 32},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 40, "n_positions": 32},
    "bert": {**SHARED, "intermediate_size": 32},
    "gpt_neox": {**SHARED, "intermediate_size": 32},
    **dict.fromkeys(("llama", "qwen2", "mistral", "gemma", "phi3", "phi"), LLAMA_LIKE),
}
SMALL["mixtral"] = {**LLAMA_LIKE, "num_local_experts": 3}
# Per block: q, k, v, o and the feed-forward matrices, counted in the papers' own figures.
PER_BLOCK = {"opt": 6, "gpt2": 6, "bert": 6, "gpt_neox": 6, "phi": 6, "mixtral": 4 + 1 + 3 * 3}


@pytest.mark.parametrize("kind", sorted(SMALL))
def test_layouts_of_transformers_add_up_and_stand_the_right_way(kind, tmp_path):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **SMALL[kind])
    known = transformers.AutoModelForMaskedLM if kind == "bert" else transformers.AutoModelForCausalLM
    model = known.from_config(config)
    model.save_pretrained(tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    inventory = weight_matrices(checkpoint)
    stored = sum(math.prod(info.shape) for info in checkpoint.tensors.values())
    assert inventory.parameters == stored
    inside = [each for each in inventory.matrices if ".0." in each.name or ".1." in each.name]
    assert len({each.name for each in inventory.matrices}) == len(inventory.matrices)
    blocks = [each for each in inside if any(f"{word}.0." in each.name for word in ("layers", "layer", "h"))]
    assert len(blocks) == PER_BLOCK.get(kind, 7)
    modules = dict(model.named_modules())
    checked = 0
    for matrix in inventory.matrices:
        values = matrix.of(read_tensor(checkpoint, matrix))
        assert values.shape == matrix.shape
        module = modules.get(matrix.name) or modules.get(matrix.name.rpartition(".")[0])
        if matrix.cut is None and hasattr(module, "weight") and module.weight.ndim == 2:
            weight = module.weight.detach().numpy()
            # Applied to an input, the stored weight gives what the module computes.
            x = torch.randn(3, matrix.shape[1])
            expected = module(x).detach().numpy() - (
                module.bias.detach().numpy() if getattr(module, "bias", None) is not None else 0
            )
            if expected.shape == (3, matrix.shape[0]):
                np.testing.assert_allclose(x.numpy() @ values.T, expected, atol=1e-5)
                checked += 1
            assert weight.size == values.size
    assert checked >= 4 or kind == "gpt_neox"


def write(folder, tensors, config=None):
    folder.mkdir(exist_ok=True)
    save_file(
        {name: np.ascontiguousarray(value) for name, value in tensors.items()}, folder / "model.safetensors"
    )
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return open_checkpoint(folder)


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def by_part(checkpoint):
    matrices = weight_matrices(checkpoint).matrices
    return {m.name.rpartition(".")[2]: m.of(read_tensor(checkpoint, m)) for m in matrices}


def test_fused_rows_go_to_their_parts(tmp_path):
    qkv = random(4 * 4 + 2 * 2 * 4, 16)
    neox = random(2 * 3 * 8, 16, seed=1)
    config = {"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 16}
    checkpoint = write(tmp_path / "a", {"layers.0.qkv_proj.weight": qkv}, config)
    parts = {
        m.name.rpartition(".")[2]: m.of(read_tensor(checkpoint, m))
        for m in weight_matrices(checkpoint).matrices
    }
    np.testing.assert_array_equal(parts["q"], qkv[:16])
    np.testing.assert_array_equal(parts["k"], qkv[16:24])
    np.testing.assert_array_equal(parts["v"], qkv[24:])
    checkpoint = write(tmp_path / "b", {"layers.0.query_key_value.weight": neox}, {"num_attention_heads": 2})
    parts = {
        m.name.rpartition(".")[2]: m.of(read_tensor(checkpoint, m))
        for m in weight_matrices(checkpoint).matrices
    }
    np.testing.assert_array_equal(parts["k"], np.concatenate([neox[8:16], neox[32:40]]))


@pytest.mark.parametrize("kind", ["mixtral", "gpt_oss"])
def test_both_layouts_of_stacked_experts(kind, tmp_path):
    hidden, inner, experts = 8, 12, 3
    gate_up, down = random(experts, 2 * inner, hidden), random(experts, hidden, inner, seed=1)
    gate, up = gate_up[:, :inner], gate_up[:, inner:]
    if kind == "gpt_oss":
        both = np.stack([gate, up], 2).reshape(experts, 2 * inner, hidden)  # in turn
        stored = {"gate_up_proj": both.transpose(0, 2, 1), "down_proj": down.transpose(0, 2, 1)}
    else:
        stored = {"gate_up_proj": gate_up, "down_proj": down}
    tensors = {f"model.layers.0.mlp.experts.{name}": value for name, value in stored.items()}
    checkpoint = write(tmp_path / kind, tensors, {"model_type": kind, "hidden_size": hidden})
    inventory = weight_matrices(checkpoint)
    assert len(inventory.matrices) == 9
    found = {m.name: m.of(read_tensor(checkpoint, m)) for m in inventory.matrices}
    np.testing.assert_array_equal(found["model.layers.0.mlp.experts.1.gate_up_proj.gate"], gate[1])
    np.testing.assert_array_equal(found["model.layers.0.mlp.experts.2.gate_up_proj.up"], up[2])
    np.testing.assert_array_equal(found["model.layers.0.mlp.experts.2.down_proj"], down[2])


@pytest.mark.parametrize(
    "name", ["weight_scale_inv", "weight_scale", "scale_weight", "scale", "weight.scale"]
)
@pytest.mark.parametrize("shape", [(), (1,), (256, 1), (256,), (2, 3)])
def test_fp8_is_multiplied_with_its_scale(name, shape, tmp_path):
    W = random(256, 384).astype(ml_dtypes.float8_e4m3fn)
    scale = np.random.default_rng(1).uniform(0.5, 2, shape).astype(np.float32)
    # safetensors' numpy writer knows no fp8: its torch writer does.
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    raw = torch.from_numpy(W.view(np.uint8)).view(torch.float8_e4m3fn)
    (tmp_path / "m").mkdir()
    save_torch({"a.weight": raw, f"a.{name}": torch.from_numpy(scale)}, tmp_path / "m" / "model.safetensors")
    checkpoint = open_checkpoint(tmp_path / "m")
    (matrix,) = weight_matrices(checkpoint).matrices
    full = np.ones((256, 384)) * (
        np.kron(scale, np.ones((128, 128)))
        if shape == (2, 3)
        else scale.reshape(-1, 1)
        if scale.size > 1
        else scale
    )
    np.testing.assert_allclose(read_tensor(checkpoint, matrix), W.astype(np.float64) * full, rtol=1e-6)
    assert matrix.quantized_already


def test_fp8_without_a_scale_is_an_error(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    save_torch({"a.weight": torch.zeros(4, 4).to(torch.float8_e4m3fn)}, tmp_path / "model.safetensors")
    with pytest.raises(BadInput, match=r"a\.weight is fp8 and has no scale"):
        weight_matrices(open_checkpoint(tmp_path))


def test_packed_weights_are_called_quantized_and_counted(tmp_path):
    tensors = {
        "a.qweight": np.zeros((2, 8), np.int32),
        "a.qzeros": np.zeros((1, 1), np.int32),
        "a.scales": np.ones((1, 8), np.float16),
        "b.weight_packed": np.zeros((8, 2), np.int32),
        "b.weight_scale": np.ones((8, 1), np.float32),
        "b.weight_shape": np.array([8, 16]),
        "c.weight": np.zeros((8, 8), np.int8),
        "c.weight_scale": np.ones((8, 1), np.float32),
        "d.weight": random(8, 8),
        "e.weight": np.zeros((0, 8), np.float32),
        "f.weight": np.array(1.0, np.float32),
        "g.weight": np.zeros((4, 4), np.int64),
    }
    np.savez(tmp_path / "model.npz", **tensors)  # safetensors' numpy writer makes a vector of a scalar
    inventory = weight_matrices(open_checkpoint(tmp_path))
    assert [m.name for m in inventory.matrices] == ["d"]
    reasons = {each.tensor: each.reason for each in inventory.left_out}
    for part in ("qweight", "qzeros", "scales"):
        assert reasons[f"a.{part}"] == "already quantized: GPTQ or AWQ"
    assert reasons["b.weight_packed"] == reasons["c.weight"] == "already quantized: compressed-tensors"
    assert (reasons["e.weight"], reasons["f.weight"], reasons["g.weight"]) == ("empty", "scalar", "integers")
    assert inventory.parameters == sum(value.size for value in map(np.asarray, tensors.values()))


def test_partners_in_different_shards_and_a_tied_head(tmp_path):
    one = {"a.weight": random(4, 4), "lm_head.weight": random(8, 4)}
    two = {"a.bias": random(4), "embed_tokens.weight": random(8, 4)}
    for number, part in enumerate((one, two), 1):
        save_file(part, tmp_path / f"model-{number}.safetensors")
    where = {
        name: f"model-{number}.safetensors" for number, part in enumerate((one, two), 1) for name in part
    }
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    (tmp_path / "config.json").write_text(json.dumps({"tie_word_embeddings": True}))
    inventory = weight_matrices(open_checkpoint(tmp_path))
    assert [m.name for m in inventory.matrices] == ["a"]
    assert {each.tensor: each.reason for each in inventory.left_out} == {
        "lm_head.weight": "tied to the embedding",
        "a.bias": "vector",
        "embed_tokens.weight": "embedding",
    }
