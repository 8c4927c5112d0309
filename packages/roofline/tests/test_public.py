"""The public surface: names, and what importing it loads."""

import subprocess
import sys
from types import ModuleType

import roofline


def test_all_is_the_public_surface() -> None:
    modules = {name for name, value in vars(roofline).items() if isinstance(value, ModuleType)}
    assert {name for name in vars(roofline) if not name.startswith("_")} - modules == set(roofline.__all__)


def test_import_loads_nothing_heavy() -> None:
    heavy = "('torch', 'matplotlib', 'typer', 'transformers', 'numpy')"
    code = f"import roofline, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
