"""Every command answers --help and --version quickly enough to be asked for: without loading torch."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from mfi_tools.workspace import members

MEMBERS = members(Path(__file__).parents[1])
COMMANDS = {command: member for member in MEMBERS.values() for command in member.commands}

# Runs the function that [project.scripts] names and tells on stderr what it had loaded at its end.
RUN = """
import atexit, sys

def tell():
    heavy = ("matplotlib", "numba", "torch", "transformers", "triton")
    sys.stderr.write("LOADED " + " ".join(name for name in heavy if name in sys.modules) + "\\n")

atexit.register(tell)
sys.argv = [{command!r}, *{arguments!r}]
from {module} import {function}
{function}()
"""


def ask(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (point,) = entry_points(group="console_scripts", name=command)
    code = RUN.format(command=command, arguments=arguments, module=point.module, function=point.attr)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parent
    )


def test_every_tool_has_its_command():
    named = {member.name for member in MEMBERS.values() if member.published} - {"mfi-command"}
    assert set(COMMANDS) == named


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command):
    done = ask(command, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: "), done.stdout
    assert done.stderr == "LOADED \n", done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_version_is_the_one_in_the_project(command):
    done = ask(command, "--version")
    assert (done.returncode, done.stdout) == (0, f"{command} {COMMANDS[command].version}\n"), done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_subcommand_ends_in_examples(command):
    """The examples start with the command itself, so that they can be copied."""
    import importlib

    from typer.main import get_command
    from typer.testing import CliRunner

    app = importlib.import_module(f"{COMMANDS[command].module}.cli").app
    for name, sub in get_command(app).commands.items():
        if hasattr(sub, "commands"):  # a tool mounted in the umbrella; it is asked itself
            continue
        answer = CliRunner().invoke(app, [name, "--help"])
        assert answer.exit_code == 0, (name, answer.output)
        examples = answer.output.partition("Examples:\n")[2].strip().splitlines()
        assert examples, f"{command} {name} --help has no example"
        assert all(line.strip().startswith(f"{command} {name}") for line in examples), examples


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_one_line_and_exit_code_2(command):
    done = ask(command, "--no-such-option")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.replace("LOADED \n", "").count("\n") == 1, done.stderr
