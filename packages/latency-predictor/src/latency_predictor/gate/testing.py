"""A small configuration and gate file, for tests of a gate: this package's and its users'."""

from __future__ import annotations

import json
from pathlib import Path

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 12,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "vocab_size": 32000,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}


def entry(budget: str) -> str:
    """A [[model]] table of config.json with the given lines of budget."""
    return f"""
[[model]]
name = "chat"
model = "config.json"
device = "A100-80GB"
batch = 4
prompt = 256
output = 32
{budget}
"""


def write_gate(folder: Path, text: str, *, layers: int = 12) -> Path:
    """Write gate.toml with `text` beside a configuration of `layers` layers; give its path."""
    config = {**CONFIG, "num_hidden_layers": layers}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    path = folder / "gate.toml"
    path.write_text(text, encoding="utf-8")
    return path
