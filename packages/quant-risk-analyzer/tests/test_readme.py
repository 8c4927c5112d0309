"""The examples of the README give what is printed beside them."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from quant_risk_analyzer.examples import NAMES, example

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.skipif(not README.is_file(), reason="only the tests were copied, not the README")
def test_the_library_example():
    text = README.read_text(encoding="utf-8")
    code, printed = re.search(r"```python\n(.*?)```\s+```text\n(.*?)```", text, re.DOTALL).groups()
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, {})
    assert out.getvalue() == printed


@pytest.mark.skipif(not README.is_file(), reason="only the tests were copied, not the README")
def test_every_command_and_option_exists():
    import typer.main

    from quant_risk_analyzer.cli import app

    commands = typer.main.get_command(app).commands
    for line in re.findall(
        r"^\$ quant-risk-analyzer (.+)$", README.read_text(encoding="utf-8"), re.MULTILINE
    ):
        name, *rest = line.partition("#")[0].split()
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert {each for each in rest if each.startswith("--")} <= known, line


@pytest.mark.skipif(not README.is_file(), reason="only the tests were copied, not the README")
@pytest.mark.parametrize("name", NAMES)
def test_the_worked_examples_are_those_of_the_package(name):
    assert example(name).text in README.read_text(encoding="utf-8")
