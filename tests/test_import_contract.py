"""The import contract holds, and a forbidden import makes it fail: planted in a copy of the sources."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mfi_tools.workspace import members

ROOT = Path(__file__).parents[1]


@pytest.fixture
def sources(tmp_path):
    """A copy of every package's sources and of the contract."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for member in members(ROOT).values():
        if member.published:
            shutil.copytree(
                ROOT / member.folder / "src" / member.module,
                tmp_path / member.module,
                ignore=shutil.ignore_patterns("__pycache__", "*.safetensors", "*.gz"),
            )
    return tmp_path


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    code = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache", "--no-logo"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )


def test_contract_holds(sources):
    done = lint(sources)
    assert done.returncode == 0, done.stdout
    assert "4 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("package", "statement"),
    [
        ("roofline", "import mm1_planner"),
        ("mm1_planner", "from stable_ops import softmax"),
        ("svd_compress", "import quant_risk_analyzer"),
        ("latency_predictor", "def f():\n    import checkpoint_lens"),
        ("quant_risk_analyzer", "import roofline"),
        ("checkpoint_lens", "import mfi"),
        ("mfi_command", "import stable_ops"),
        ("latency_gate", "import roofline"),
        ("mfi", "import latency_gate"),
    ],
)
def test_a_forbidden_import_breaks_it(sources, package, statement):
    (sources / package / "planted.py").write_text(f"{statement}\n")
    done = lint(sources)
    assert done.returncode == 1, done.stdout
    assert f"{package}.planted -> " in done.stdout
