"""A language model small enough to be judged by brute force."""

import json

import numpy as np
import pytest
import torch
from torch import nn


class Letters:
    """One token a character."""

    def encode(self, text):
        return [ord(letter) % 61 for letter in text]


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, nn.Linear(width, width, bias=False))
        self.up_proj, self.down_proj = (
            nn.Linear(width, 3 * width, bias=False),
            nn.Linear(3 * width, width, bias=False),
        )

    def forward(self, x):
        h = nn.functional.rms_norm(x, x.shape[-1:])
        # Written out: the fused kernel has no forward-mode derivative, which a test needs.
        scores = self.q_proj(h) @ self.k_proj(h).transpose(1, 2) / x.shape[-1] ** 0.5
        later = torch.ones_like(scores, dtype=torch.bool).triu(1)
        x = x + self.o_proj(torch.softmax(scores.masked_fill(later, -torch.inf), -1) @ self.v_proj(h))
        return x + self.down_proj(nn.functional.silu(self.up_proj(nn.functional.rms_norm(x, x.shape[-1:]))))


class Tiny(nn.Module):
    def __init__(self, width=16, blocks=2, vocab_size=61):
        super().__init__()
        self.vocab_size, self.tokenizer = vocab_size, Letters()
        self.embedding = nn.Embedding(vocab_size, width)
        self.layers = nn.ModuleList(Block(width) for _ in range(blocks))

    def forward(self, ids):
        x = self.embedding(ids)
        for block in self.layers:
            x = block(x)
        return nn.functional.rms_norm(x, x.shape[-1:]) @ self.embedding.weight.T

    def linear_layers(self):
        return {name: layer for name, layer in self.named_modules() if isinstance(layer, nn.Linear)}


@pytest.fixture
def tiny():
    """Two blocks in float64, random weights large enough for the layers to matter."""
    torch.manual_seed(0)
    model = Tiny().double().eval()
    with torch.no_grad():
        for layer in model.linear_layers().values():
            layer.weight.mul_(2)
    return model


@pytest.fixture(scope="session")
def reference():
    """The bundled model, loaded once: a test may not change it."""
    from checkpoint_lens import reference_model

    return reference_model()


@pytest.fixture
def text():
    generator = torch.Generator().manual_seed(5)
    return "".join(chr(65 + int(n)) for n in torch.randint(0, 61, (2000,), generator=generator))


WIDTH, HIDDEN, WORDS = 16, 40, 50


def safetensors_bytes(tensors):
    """The file format by hand: the length of the header, the header as JSON, the data."""
    header, data = {}, b""
    for name, array in tensors.items():
        raw = array.astype("<f4").tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": array.shape,
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.fixture
def folder(tmp_path):
    """A Llama of two blocks in the Hugging Face layout, random weights; words w0 ... w49."""
    generator = np.random.default_rng(0)
    shapes = {"model.embed_tokens.weight": (WORDS, WIDTH), "model.norm.weight": (WIDTH,)}
    for block in range(2):
        root = f"model.layers.{block}."
        shapes |= {f"{root}self_attn.{name}_proj.weight": (WIDTH, WIDTH) for name in "qo"}
        shapes |= {f"{root}self_attn.{name}_proj.weight": (WIDTH // 2, WIDTH) for name in "kv"}
        shapes |= {f"{root}mlp.{name}_proj.weight": (HIDDEN, WIDTH) for name in ("gate", "up")}
        shapes |= {f"{root}mlp.down_proj.weight": (WIDTH, HIDDEN)}
        shapes |= {f"{root}{name}_layernorm.weight": (WIDTH,) for name in ("input", "post_attention")}
    tensors = {
        name: np.ones(shape) if len(shape) == 1 else generator.standard_normal(shape) * shape[1] ** -0.5 * 2
        for name, shape in shapes.items()
    }
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": WIDTH,
        "intermediate_size": HIDDEN,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": WORDS,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "hidden_act": "silu",
    }
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": {f"w{at}": at for at in range(WORDS)}, "unk_token": "w0"},
    }
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(safetensors_bytes(tensors))
    (model / "config.json").write_text(json.dumps(config))
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    return model


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text(" ".join(f"w{at}" for at in np.random.default_rng(1).integers(0, WORDS, 600)))
    return path
