"""The tiny models of this folder."""

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny():
    """Beside this file; tests are no package, so it is loaded by its path."""
    pytest.importorskip("transformers")
    spec = importlib.util.spec_from_file_location("tiny", Path(__file__).with_name("tiny.py"))
    module = sys.modules.setdefault("tiny", importlib.util.module_from_spec(spec))
    if not hasattr(module, "build"):
        spec.loader.exec_module(module)
    return module
