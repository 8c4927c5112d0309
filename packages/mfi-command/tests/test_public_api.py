"""What is public is what is listed."""

from __future__ import annotations

import subprocess
import sys

import mfi_command


def test_all_names_exist():
    assert all(hasattr(mfi_command, name) for name in mfi_command.__all__)


def test_importing_it_loads_no_dependency():
    code = "import sys, mfi_command; print([m for m in ('typer', 'rich', 'matplotlib') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )
