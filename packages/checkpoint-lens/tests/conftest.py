"""Small checkpoints for tests: random weights under Hugging Face's names, a BPE made on the spot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

TEXT = (
    "The river had risen in the night and ran brown and fast under the old stone bridge. "
    "Children threw sticks into the water, and the older men talked about the flood of 1953.\n\n"
    "“Nobody believed the story about the cows,” she wrote; café, naïve, 20 °C, and so on.\n"
) * 6

Weights = dict[str, np.ndarray[Any, Any]]


@pytest.fixture(scope="session")
def text() -> str:
    """English with a few characters of more than one byte."""
    return TEXT


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """A byte-level BPE of 400 tokens."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        [TEXT], trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    )
    return inner


def llama_config(**changes: Any) -> dict[str, Any]:
    """The config.json of a tiny Llama."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 400,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
    }
    return {key: value for key, value in (config | changes).items() if value is not None}


def llama_weights(config: dict[str, Any], seed: int = 0) -> Weights:
    """Random float32 weights of the shapes that a Hugging Face Llama of this configuration has."""
    rng = np.random.default_rng(seed)
    hidden, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    head = config.get("head_dim", hidden // heads)
    queries, keys = heads * head, config.get("num_key_value_heads", heads) * head
    projections = {
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }

    def matrix(*shape: int) -> np.ndarray[Any, Any]:
        return (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)

    weights = {"model.embed_tokens.weight": matrix(config["vocab_size"], hidden) * 3}
    for block in range(config["num_hidden_layers"]):
        for name, shape in projections.items():
            weights[f"model.layers.{block}.{name}.weight"] = matrix(*shape)
            if name.startswith("self_attn") and config.get("attention_bias"):
                weights[f"model.layers.{block}.{name}.bias"] = matrix(shape[0])
        for name in ("input_layernorm", "post_attention_layernorm"):
            weights[f"model.layers.{block}.{name}.weight"] = 1 + matrix(hidden)
    weights["model.norm.weight"] = 1 + matrix(hidden)
    if not config.get("tie_word_embeddings", False):
        weights["lm_head.weight"] = matrix(config["vocab_size"], hidden)
    return weights


Writer = Callable[..., Path]


@pytest.fixture
def write_llama(tmp_path: Path, tokenizer: Tokenizer) -> Writer:
    """write_llama(name="model", change=None, **config) -> folder; `change(weights)` may spoil them first."""

    def write(name: str = "model", change: Callable[[Weights], Any] | None = None, **changes: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        config = llama_config(**changes)
        weights = llama_weights(config)
        if change is not None:
            change(weights)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(config))
        tokenizer.save(str(folder / "tokenizer.json"))
        return folder

    return write


@pytest.fixture(scope="session")
def make_weights() -> Callable[..., Weights]:
    """The random weights of a configuration."""
    return llama_weights


@pytest.fixture(scope="session")
def make_config() -> Callable[..., dict[str, Any]]:
    """The configuration of a tiny Llama with changes."""
    return llama_config
