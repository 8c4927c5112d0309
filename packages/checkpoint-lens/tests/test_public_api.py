"""What the package offers by name, and what importing it costs."""

import subprocess
import sys

import checkpoint_lens


def test_all_names_exist_and_nothing_else_is_public():
    shown = {name for name in vars(checkpoint_lens) if not name.startswith("_")}
    modules = {name for name in shown if type(getattr(checkpoint_lens, name)).__name__ == "module"}
    assert shown - modules - {"annotations", "TYPE_CHECKING", "Any", "CausalLM"} == set(
        checkpoint_lens.__all__
    ) - {"CausalLM"}


def test_import_loads_nothing_heavy():
    heavy = "torch transformers typer matplotlib tokenizers gguf safetensors"
    code = f"import sys, checkpoint_lens; print([m for m in '{heavy}'.split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_causal_lm_is_looked_up_when_named():
    assert checkpoint_lens.CausalLM.__name__ == "CausalLM"
