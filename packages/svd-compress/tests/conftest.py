"""A tiny Llama-shaped checkpoint with random weights and a byte tokenizer, and two texts for it."""

import json
import os

# Matrices this small gain nothing from threads, and threads that wait for each other on a busy machine lose.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

SHAPES = {
    "self_attn.q_proj": (48, 48),
    "self_attn.k_proj": (24, 48),
    "self_attn.v_proj": (24, 48),
    "self_attn.o_proj": (48, 48),
    "mlp.gate_proj": (80, 48),
    "mlp.up_proj": (80, 48),
    "mlp.down_proj": (48, 80),
}
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 256,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
}


def falling(rng, shape, decay):
    """A random matrix whose singular values fall as exp(-decay i)."""
    p = min(shape)
    U = np.linalg.qr(rng.standard_normal((shape[0], p)))[0]
    V = np.linalg.qr(rng.standard_normal((shape[1], p)))[0]
    return (U * (3.0 * np.exp(-decay * np.arange(p)))) @ V.T


def write_model(folder, *, decay=0.15, dtype=np.float32, seed=0, change=None):
    """Write the checkpoint; `change(tensors)` may spoil it before it is written."""
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    rng = np.random.default_rng(seed)
    tensors = {"model.embed_tokens.weight": rng.standard_normal((256, 48)) * 0.5}
    for block in range(2):
        for name, shape in SHAPES.items():
            tensors[f"model.layers.{block}.{name}.weight"] = falling(rng, shape, decay)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"model.layers.{block}.{norm}.weight"] = rng.uniform(0.5, 1.5, 48)
    tensors["model.norm.weight"] = np.ones(48)
    tensors = {name: np.ascontiguousarray(value.astype(dtype)) for name, value in tensors.items()}
    if change is not None:
        change(tensors)
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    alphabet = {character: i for i, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def words(seed, count):
    rng = np.random.default_rng(seed)
    lexicon = ["".join(rng.choice(list("aeioumnrstlp"), rng.integers(2, 8))) for _ in range(60)]
    return " ".join(rng.choice(lexicon, count))


@pytest.fixture(scope="session")
def writer():
    """`write_model`, for tests that spoil a checkpoint."""
    return write_model


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Folder of the tiny checkpoint, beside calibration.txt and evaluate.txt."""
    root = tmp_path_factory.mktemp("tiny")
    (root / "calibration.txt").write_text(words(1, 500))
    (root / "evaluate.txt").write_text(words(2, 500))
    return write_model(root / "model")


@pytest.fixture(scope="session")
def texts(tiny):
    return {"calibration": tiny.parent / "calibration.txt", "evaluate": tiny.parent / "evaluate.txt"}


@pytest.fixture(scope="session")
def reference():
    """The bundled trained model; where an installation has none, its tests are skipped."""
    from checkpoint_lens import reference_path
    from mfi_command import BadInput

    try:
        return reference_path()
    except BadInput as missing:
        pytest.skip(str(missing))


@pytest.fixture(autouse=True)
def no_kept_latencies(tmp_path, monkeypatch):
    """A latency table that the developer keeps must not decide what a test gets."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
