"""Every example of the README and of the manual runs and prints what is written under it."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stable_ops.cli import app
from stable_ops.ops.triton.tiers import tier

PACKAGE = Path(__file__).parents[1]
MANUAL = PACKAGE.parents[1] / "docs" / "tools" / "stable-ops"
FILES = [path for path in (PACKAGE / "README.md", *sorted(MANUAL.glob("*.md"))) if path.is_file()]
pytestmark = pytest.mark.skipif(not FILES, reason="the documents are not beside the tests")


def blocks(language: str) -> list[pytest.param]:
    found = []
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        found += [(path.name, block) for block in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)]
    return [pytest.param(block, id=f"{name}-{i}") for i, (name, block) in enumerate(found)]


@pytest.mark.parametrize("block", blocks("console"))
def test_command(block):
    for line in re.split(r"^\$ stable-ops ", block, flags=re.MULTILINE)[1:]:
        command, *printed = line.rstrip().splitlines()
        done = CliRunner().invoke(app, shlex.split(command))
        assert done.exit_code in (0, 1), done.output
        shown = done.stdout.splitlines()
        assert [text for text in printed if text not in shown] == [], done.output


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_python(path):
    """The blocks of a document are run one after the other: a later one may use what an earlier one made."""
    names = {}
    for i, block in enumerate(
        re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    ):
        exec(compile(block, f"{path.name}, block {i}", "exec"), names)


@pytest.mark.skipif(len(FILES) < 2, reason="the manual is not beside the tests")
def test_every_command_is_in_the_manual():
    described = set(
        re.findall(r"^## ([a-z]+)", (MANUAL / "cli.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert described == {command.name for command in app.registered_commands}


def test_tiers_of_the_readme_are_those_of_the_code():
    text = (PACKAGE / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z_, ]+) \| (T\d) \| (T\d) \|$", text, re.MULTILINE)
    found = {op: (narrow, wide) for ops, narrow, wide in rows for op in ops.split(", ")}
    for op, (narrow, wide) in found.items():
        assert tier(op, "float16") == tier(op, "bfloat16") == narrow, op
        assert tier(op, "float32") == wide, op
    assert len(found) == 8


def test_there_is_something_to_run():
    if len(FILES) > 1:
        assert len(blocks("console")) >= 6
        assert len(blocks("python")) >= 3
