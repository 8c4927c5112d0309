"""Commands shown in texts exist: each is parsed by the program it names, without being run."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
from typer import TyperException
from typer.main import get_command

from mfi_tools.workspace import members

ROOT = Path(__file__).parents[1]
MEMBERS = members(ROOT)
COMMANDS = {command: member.module for member in MEMBERS.values() for command in member.commands}
TEXTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / member.folder / "README.md" for member in MEMBERS.values() if member.published),
]


def shown(text: str) -> list[str]:
    """Command lines in console blocks and in code spans that hold more than the command's name."""
    lines = []
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if language in ("console", "sh", "bash", "shell"):
            joined = block.replace("\\\n", " ")
            lines += [line.removeprefix("$ ").removeprefix("uv run ") for line in joined.splitlines()]
    lines += re.findall(
        r"`([a-z][\w-]* [^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    )
    first = [re.split(r"\s(?:\||>|&&|2>)\s?|\s+# ", line)[0].strip() for line in lines]
    return [
        line for line in first if line.split(" ")[0] in COMMANDS and "..." not in line and "<" not in line
    ]


def cases() -> list:
    return [
        pytest.param(line, id=f"{path.relative_to(ROOT)}: {line}")
        for path in TEXTS
        if path.is_file()
        for line in dict.fromkeys(shown(path.read_text(encoding="utf-8")))
    ]


def parse(line: str) -> None:
    """Parse a command line down to its last subcommand; a usage error is raised."""
    name, *arguments = shlex.split(line)
    command = get_command(importlib.import_module(f"{COMMANDS[name]}.cli").app)
    while hasattr(command, "commands"):
        if arguments[:1] in (["--help"], ["--version"]):
            return
        assert arguments, f"{line}: no subcommand"
        assert arguments[0] in command.commands, f"{line}: no command {arguments[0]}"
        name, *arguments = arguments
        command = command.commands[name]
    if "--help" not in arguments:
        command.make_context(name, list(arguments))


@pytest.mark.parametrize("line", cases())
def test_example_parses(line):
    parse(line)


def test_the_examples_are_found():
    text = (
        "`mfi report` and\n```console\n$ uv run mfi verify --json | head  # so\n$ roofline devices > x\n```\n"
    )
    assert shown(text) == ["mfi verify --json", "roofline devices", "mfi report"]


@pytest.mark.parametrize(
    "line", ["latency-gate chek", "latency-gate check --no-such", "latency-gate check a b"]
)
def test_a_wrong_example_is_found(line):
    with pytest.raises((AssertionError, TyperException), match=r"no command|No such option|unexpected extra"):
        parse(line)
