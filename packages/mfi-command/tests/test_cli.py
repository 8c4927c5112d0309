"""The contract, seen from outside: a real process, its stdout, its stderr, its exit code, its files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOY = '''
from __future__ import annotations
from typing import Annotated
import typer
from mfi_command import BadInput
from mfi_command.cli import Report, Seed, Table, command, create_app, entry_point, progress

app = create_app("toy", distribution="mfi-command", summary="A toy.")


@command(app, examples=["toy weigh 3 --count 2"])
def weigh(load: str, count: Annotated[int, typer.Option(help="How often.")] = 3, *, seed: Seed = 0) -> Report:
    """Weigh a load."""
    if load == "bad":
        raise BadInput("load bad\\nexpected a number")
    if load == "missing":
        open("no-such-file")
    if load == "bug":
        raise KeyError("x")
    if load == "full":
        raise MemoryError
    with progress("weighing") as tick:
        tick(1, 2)

    def draw():
        from matplotlib.figure import Figure

        figure = Figure()
        figure.subplots().plot([1, 4, 2])
        return figure

    return Report(
        {"rows": [1.5, float("nan"), float("inf")], "count": count},
        [Table("Loads", ["name", "mass_kg"], [["a|b", 0.123456], ["c", None]])],
        ["a note"],
        draw,
        "4 kg is over the limit of 3 kg" if load == "over" else None,
    )


@command(app, name="to-file", examples=["toy to-file --output x.bin"])
def to_file(output: Annotated[str, typer.Option("--output")] = "x") -> Report:
    """Has an output of its own."""
    return Report({})


main = entry_point(app)
if __name__ == "__main__":
    main()
'''


@pytest.fixture
def toy(tmp_path: Path):
    script = tmp_path / "toy.py"
    script.write_text(TOY)

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("MFI_")}
        return subprocess.run(
            [sys.executable, str(script), *arguments],
            cwd=tmp_path,
            env={**clean, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


def test_json_is_one_strict_object_with_the_common_fields(toy):
    done = toy("weigh", "3", "--json")
    answer = json.loads(done.stdout, parse_constant=pytest.fail)
    assert done.returncode == 0
    assert done.stderr == ""
    assert list(answer)[:5] == ["schema_version", "tool", "version", "command", "inputs"]
    assert answer["inputs"] == {"load": "3", "count": 3, "seed": 0}
    assert answer["rows"] == [1.5, None, None]


@pytest.mark.parametrize(
    ("load", "code", "words"),
    [
        ("bad", 2, "toy: error: load bad expected a number\n"),
        ("missing", 2, "toy: error: no-such-file: No such file or directory\n"),
        ("full", 2, "toy: error: this input needs more memory than there is\n"),
        ("bug", 101, "toy: bug: KeyError: 'x' (run again with --debug and send us the traceback)\n"),
        ("over", 1, "toy: 4 kg is over the limit of 3 kg\n"),
    ],
)
def test_exit_codes_and_one_line(toy, load, code, words):
    done = toy("weigh", load, "--quiet")
    assert (done.returncode, done.stderr) == (code, words)


def test_a_gate_still_prints_its_json(toy):
    done = toy("weigh", "over", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["count"] == 3


def test_traceback_only_with_debug(toy):
    assert "Traceback" not in toy("weigh", "bug").stderr
    assert "Traceback" in toy("weigh", "bug", "--debug").stderr
    assert "Traceback" in toy("weigh", "bad", "--debug").stderr


@pytest.mark.parametrize(
    "arguments", [["weigh"], ["weigh", "3", "--count", "x"], ["nothing"], ["weigh", "3", "--wrong"]]
)
def test_bad_usage_is_one_line_and_two(toy, arguments):
    done = toy(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("toy: error: ")


def test_no_arguments_shows_help_and_help_ends_in_examples(toy):
    assert "Commands:" in toy().stdout
    assert toy("weigh", "--help").stdout.rstrip().endswith("toy weigh 3 --count 2")


def test_options_over_environment_over_files(toy, tmp_path):
    def count(*arguments: str, **environment: str) -> int:
        return json.loads(toy("weigh", "3", "--json", *arguments, **environment).stdout)["count"]

    assert count() == 3
    (tmp_path / "pyproject.toml").write_text("[tool.mfi.toy.weigh]\ncount = 4\n")
    assert count() == 4
    (tmp_path / "mfi.toml").write_text("[toy.weigh]\ncount = 5\n")
    assert count() == 5
    assert count(MFI_TOY_WEIGH_COUNT="6") == 6
    assert count("--count", "7", MFI_TOY_WEIGH_COUNT="6") == 7


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[toy.weigh]\ncuont = 4\n", "unknown setting 'cuont' in [toy.weigh]"),
        ("[toy]\nweigh = 4\n", "must be a table"),
        ("[toy.weigh\n", "is not valid TOML"),
    ],
)
def test_a_wrong_settings_file_is_an_error(toy, tmp_path, text, words):
    (tmp_path / "mfi.toml").write_text(text)
    done = toy("weigh", "3")
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_each_ending_gives_its_form(toy, tmp_path):
    marks = {
        "json": b'"schema_version": 1',
        "csv": b"name,mass_kg\na|b,0.123456\nc,\n",
        "md": b"| a\\|b | 0.1235 |",
        "html": b"<svg",
        "png": b"\x89PNG",
        "svg": b"<svg",
    }
    for ending, mark in marks.items():
        if ending in ("png", "svg", "html"):
            pytest.importorskip("matplotlib")
        done = toy("weigh", "3", "--output", f"answer.{ending}")
        assert done.returncode == 0, done.stderr
        assert mark in (tmp_path / f"answer.{ending}").read_bytes()


@pytest.mark.parametrize("target", ["answer.txt", "nowhere/answer.json"])
def test_an_impossible_output_is_refused_and_leaves_nothing(toy, tmp_path, target):
    before = sorted(tmp_path.iterdir())
    done = toy("weigh", "3", "--output", target)
    assert done.returncode == 2
    assert sorted(tmp_path.iterdir()) == before


def test_an_output_of_its_own_is_not_shadowed(toy):
    assert json.loads(toy("to-file", "--output", "y", "--json").stdout)["inputs"] == {"output": "y"}


def test_a_closed_pipe_is_no_error(tmp_path, toy):
    line = f"{sys.executable} {tmp_path / 'toy.py'} weigh 3 | head -c 0"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
