"""Every command and every Python block of the README runs."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from checkpoint_lens.cli import app

README = Path(__file__).parents[1] / "README.md"
CONTENT = README.read_text(encoding="utf-8") if README.is_file() else ""
COMMANDS = re.findall(r"^\$ checkpoint-lens (.+)$", CONTENT, re.MULTILINE)
BLOCKS = re.findall(r"```python\n(.*?)```", CONTENT, re.DOTALL)
pytestmark = pytest.mark.skipif(not CONTENT, reason="README.md is not beside the tests")


@pytest.mark.parametrize("line", COMMANDS)
def test_command(line):
    pytest.importorskip("torch")
    done = CliRunner().invoke(app, shlex.split(line))
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("block", BLOCKS)
def test_python(block):
    pytest.importorskip("torch")
    exec(compile(block, str(README), "exec"), {})


def test_there_is_something_to_run():
    assert len(COMMANDS) >= 3
    assert BLOCKS
