"""GGUF: header against the gguf package, values against its quantizers, row order against a model."""

from __future__ import annotations

import json
import struct

import ml_dtypes
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from gguf import GGUFReader, GGUFWriter
from gguf.quants import dequantize, quantize

from checkpoint_lens import load_model, open_checkpoint
from checkpoint_lens.stored.gguf_header import read_header
from mfi_command import BadInput

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def permuted(weights, heads):
    """What llama.cpp's converter does to the rows of q and k (convert_hf_to_gguf.py, LlamaModel.permute)."""
    rows = weights.shape[0]
    halves = weights.reshape(heads, 2, rows // heads // 2, *weights.shape[1:])
    return halves.swapaxes(1, 2).reshape(weights.shape)


def gguf_name(name):
    outside = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    stem, _, kind = name.rpartition(".")
    if stem in outside:
        return f"{outside[stem]}.{kind}"
    _, _, block, part = stem.split(".", 3)
    return f"blk.{block}.{NAMES[part]}.{kind}"


def write_gguf(path, config, weights, *, kind=Kind.F32, metadata=None, extra=None):
    """A GGUF as llama.cpp would convert it: its names, its row order, `kind` for matrices."""
    writer = GGUFWriter(path, "llama")
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    for key, value in (metadata or {}).items():
        add = writer.add_array if isinstance(value, list) else writer.add_string
        add(key, value)
    for name, values in {**weights, **(extra or {})}.items():
        if "q_proj" in name:
            values = permuted(values, config["num_attention_heads"])
        if "k_proj" in name:
            values = permuted(values, config["num_key_value_heads"])
        to = name if extra and name in extra else gguf_name(name)
        if values.ndim < 2 or kind == Kind.F32:
            writer.add_tensor(to, values)
        else:
            writer.add_tensor(to, quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def config(make_config):
    return make_config()


@pytest.fixture
def weights(make_weights, config):
    return make_weights(config)


def test_header_agrees_with_the_reader_of_the_gguf_package(tmp_path, config, weights):
    texts = {
        "tokenizer.ggml.tokens": ["a", "é", "<|x|>"],
        "general.name": "naïve",
        "some.floats": [1.5, -2.0],
    }
    path = write_gguf(tmp_path / "x.gguf", config, weights, kind=Kind.Q8_0, metadata=texts)
    ours, theirs = read_header(path), GGUFReader(path)
    fields = {k: f.contents() for k, f in theirs.fields.items() if not k.startswith("GGUF.")}
    assert ours.metadata == fields
    assert texts.items() <= ours.metadata.items()
    assert {
        name: (tensor.shape, tensor.kind, tensor.offset, tensor.nbytes)
        for name, tensor in ours.tensors.items()
    } == {
        t.name: (tuple(reversed(t.shape.tolist())), t.tensor_type, t.data_offset, t.n_bytes)
        for t in theirs.tensors
    }


@pytest.mark.parametrize("kind", [Kind.F32, Kind.F16, Kind.BF16, Kind.Q8_0, Kind.Q4_0, Kind.Q4_1, Kind.Q5_0])
def test_names_values_and_row_order_are_hugging_faces(tmp_path, config, weights, kind):
    opened = open_checkpoint(write_gguf(tmp_path / "x.gguf", config, weights, kind=kind))
    assert set(opened) == set(weights)
    for name, wanted in weights.items():
        if wanted.ndim == 2 and kind != Kind.F32:
            # Blocks lie along rows, so the order of rows does not change them.
            wanted = dequantize(quantize(wanted, kind), kind)
        got = opened[name]
        np.testing.assert_array_equal(got.astype(np.float32), wanted, err_msg=name)
        assert got.shape == opened.tensors[name].shape
    matrix = opened.tensors["model.layers.0.mlp.up_proj.weight"]
    plain = {Kind.F32: "float32", Kind.F16: "float16", Kind.BF16: "bfloat16"}
    assert matrix.dtype == plain.get(kind, kind.name)
    if kind == Kind.BF16:
        assert opened[matrix.name].dtype == ml_dtypes.bfloat16


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_gives_the_logits_of_its_safetensors(tmp_path, make_config, make_weights, write_llama, tied):
    torch = pytest.importorskip("torch")
    config = make_config(tie_word_embeddings=tied, num_attention_heads=8, num_key_value_heads=2)
    path = write_gguf(tmp_path / "x.gguf", config, make_weights(config))
    folder = write_llama(tie_word_embeddings=tied, num_attention_heads=8, num_key_value_heads=2)
    ids = torch.arange(2 * 40).reshape(2, 40)
    ours, wanted = load_model(path)(ids), load_model(folder)(ids)
    # The header keeps rms_norm_eps in float32: not the same bits.
    torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-6)


def test_a_folder_with_a_gguf_in_it_has_its_tokenizer(tmp_path, config, weights, tokenizer):
    from tokenizers import Tokenizer

    words = tokenizer.get_vocab()
    content = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": sorted(words, key=words.get),
        "tokenizer.ggml.token_type": [1] * len(words),
        "tokenizer.ggml.merges": [" ".join(m) for m in json.loads(tokenizer.to_str())["model"]["merges"]],
    }
    pytest.importorskip("torch")
    write_gguf(tmp_path / "x.gguf", config, weights, metadata=content)
    wanted = tokenizer.encode("the old bridge").ids
    assert load_model(tmp_path).tokenizer.encode("the old bridge") == wanted
    # A tokenizer.json beside the file is preferred.
    beside = Tokenizer.from_str(tokenizer.to_str())
    beside.pre_tokenizer = None
    beside.save(str(tmp_path / "tokenizer.json"))
    assert (
        load_model(tmp_path / "x.gguf").tokenizer.encode("the old bridge")
        == beside.encode("the old bridge").ids
    )
    assert beside.encode("the old bridge").ids != wanted


def test_config_from_metadata(tmp_path, config, weights):
    got = open_checkpoint(write_gguf(tmp_path / "x.gguf", config, weights)).config
    wanted = {k: v for k, v in config.items() if k not in ("architectures", "rms_norm_eps")}
    assert wanted.items() <= got.items()
    assert got["rms_norm_eps"] == pytest.approx(config["rms_norm_eps"], rel=1e-7)


def test_rope_factors_divide_the_frequencies(tmp_path, config, weights, write_llama):
    torch = pytest.importorskip("torch")
    factors = np.array([1, 2, 4, 8], np.float32)
    path = write_gguf(tmp_path / "x.gguf", config, weights, extra={"rope_freqs.weight": factors})
    opened = open_checkpoint(path)
    assert opened.config["rope_scaling"] == {"rope_type": "factors", "factors": [1, 2, 4, 8]}
    assert "rope_freqs.weight" not in opened
    ids = torch.arange(60)[None]
    wanted = load_model(write_llama(rope_scaling={"rope_type": "factors", "factors": [1, 2, 4, 8]}))(ids)
    plain = load_model(write_llama("plain"))(ids)
    torch.testing.assert_close(load_model(path)(ids), wanted, rtol=0, atol=1e-6)
    assert (wanted - plain).abs().max() > 1e-3


def damaged(content: bytes, name: str) -> bytes:
    return {
        "truncated": content[:-40],
        "in-header": content[:200],
        "magic": b"GGML" + content[4:],
        "version": content[:4] + struct.pack("<I", 1) + content[8:],
        "big-endian": content[:4] + struct.pack(">I", 3) + content[8:],
        "many-keys": content[:16] + struct.pack("<Q", 2**60) + content[24:],
        "long-string": content[:24] + struct.pack("<Q", 2**62) + content[32:],
        "bad-type": content.replace(
            b"llama.block_count" + struct.pack("<I", 4), b"llama.block_count" + struct.pack("<I", 77)
        ),
    }[name]


@pytest.mark.parametrize(
    "name",
    ["truncated", "in-header", "magic", "version", "big-endian", "many-keys", "long-string", "bad-type"],
)
def test_a_damaged_file_is_bad_input(tmp_path, config, weights, name):
    content = write_gguf(tmp_path / "whole.gguf", config, weights).read_bytes()
    assert damaged(content, name) != content
    (tmp_path / "x.gguf").write_bytes(damaged(content, name))
    with pytest.raises(BadInput) as caught:
        open_checkpoint(tmp_path / "x.gguf")
    assert "\n" not in str(caught.value)
