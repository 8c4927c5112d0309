"""A gate file with one model, a configuration in the layout of Hugging Face."""

import json

import pytest

CONFIG = {
    "model_type": "llama",
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 12,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "vocab_size": 32000,
    "tie_word_embeddings": True,
}
ENTRY = """
[[model]]
name = "chat"
model = "config.json"
device = "A100-80GB"
batch = 4
prompt = 256
output = 32
{budget}
"""


@pytest.fixture
def write_gate(tmp_path):
    """Write gate.toml with `text` beside a configuration; give its path."""

    def write(text, *, layers=12):
        (tmp_path / "config.json").write_text(json.dumps({**CONFIG, "num_hidden_layers": layers}))
        path = tmp_path / "gate.toml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def entry():
    """The text of a [[model]] table with the budget given."""
    return lambda budget: ENTRY.format(budget=budget)
