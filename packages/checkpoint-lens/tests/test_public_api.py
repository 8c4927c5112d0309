"""What the package offers by name, and what importing it costs."""

import ast
import inspect
import subprocess
import sys

import pytest

import checkpoint_lens


def test_every_public_name_exists_and_is_documented():
    pytest.importorskip("torch")
    for name in checkpoint_lens.__all__:
        assert inspect.getdoc(getattr(checkpoint_lens, name)), name
    assert checkpoint_lens.__all__ == sorted(checkpoint_lens.__all__) == dir(checkpoint_lens)


def test_what_type_checkers_see_is_what_there_is():
    tree = ast.parse(inspect.getsource(checkpoint_lens))
    guard = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in guard.body for alias in node.names}
    homes = {name: f"checkpoint_lens.{home}" for name, home in checkpoint_lens._HOME.items()}
    assert seen == homes
    assert sorted(seen) == checkpoint_lens.__all__


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'open'"):
        checkpoint_lens.open  # noqa: B018


def test_import_loads_nothing_heavy():
    heavy = "numpy torch transformers typer matplotlib tokenizers gguf safetensors"
    code = f"import sys, checkpoint_lens; print([m for m in '{heavy}'.split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_opening_a_file_loads_no_torch(write_llama):
    code = "import sys, checkpoint_lens as c; c.open_checkpoint(sys.argv[1]); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(write_llama())], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
