"""Makes the scripts of training/ importable; they are no part of the installed package."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

TRAINING = Path(__file__).parents[2] / "training"


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a script by name."""
    if not TRAINING.is_dir():
        pytest.skip("the training recipe is in the repository, not in the wheel")
    monkeypatch.syspath_prepend(str(TRAINING))
    return importlib.import_module
