"""A wheel that works alone passes; each way in which a workspace hides that it does not is found."""

import subprocess

import pytest

from mfi_tools import wheels
from mfi_tools.workspace import members


def check(workspace, *names):
    subprocess.run(["uv", "lock", "--quiet"], cwd=workspace, check=True)
    outcomes = {outcome.distribution: outcome for outcome in wheels.check(workspace, names, jobs=1)}
    if any("error sending request" in outcome.log for outcome in outcomes.values()):
        pytest.skip("no package index in reach")
    return outcomes


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_sound_chain_passes(workspace, capsys):
    outcomes = check(workspace, "t-top")
    assert outcomes["t-top"].passed, outcomes["t-top"].log
    assert outcomes["t-top"].summary.startswith("1 passed")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("wheel ok     t-top")


def test_an_undeclared_sibling_is_found(workspace):
    """In the workspace every member is importable; alone it is not."""
    (workspace / "packages/top/src/t_top/__init__.py").write_text("import t_tools\n")
    outcome = check(workspace, "t-top")["t-top"]
    assert (outcome.passed, outcome.summary) == (False, "import without extras failed")
    assert "No module named 't_tools'" in outcome.log


def test_a_bound_that_excludes_the_sibling_is_found(workspace):
    edit(workspace / "packages/middle/pyproject.toml", "t-base>=0.1,<0.2", "t-base>=0.2,<0.3")
    outcome = check(workspace, "t-middle")["t-middle"]
    assert (outcome.passed, outcome.summary) == (False, "install failed")


def test_a_file_that_is_not_in_the_wheel_is_found(workspace):
    test = workspace / "packages/base/tests/test_t_base.py"
    test.write_text(
        "from pathlib import Path\n\ndef test():\n    assert (Path(__file__).parents[1] / 'src').is_dir()\n"
    )
    outcome = check(workspace, "t-base")["t-base"]
    assert (outcome.passed, outcome.summary) == (False, "tests failed")


def test_a_package_without_tests_fails(workspace):
    (workspace / "packages/base/tests/test_t_base.py").write_text("")
    assert check(workspace, "t-base")["t-base"].summary == "tests failed"


def test_failure_is_told_with_its_output(workspace, monkeypatch, capsys):
    (workspace / "packages/base/src/t_base/__init__.py").write_text("import missing_module\n")
    subprocess.run(["uv", "lock", "--quiet"], cwd=workspace, check=True)
    monkeypatch.chdir(workspace)
    with pytest.raises(SystemExit) as stopped:
        wheels.main(["base"])
    shown = capsys.readouterr()
    assert stopped.value.code == 1
    assert "wheels: 0 of 1 work alone" in shown.out
    assert "No module named 'missing_module'" in shown.err


def test_chosen_by_any_of_its_names(workspace):
    found = members(workspace)
    assert wheels.chosen([], found) == ["t-base", "t-middle", "t-top"]
    assert wheels.chosen(["packages/top", "t-base", "top"], found) == ["t-top", "t-base"]
    assert wheels.chosen(["tools"], found) == []
    with pytest.raises(SystemExit, match="no package nope"):
        wheels.chosen(["base", "nope"], found)


def test_requirements_name_files_and_only_declared_siblings(workspace, tmp_path):
    for stem in ("t_base", "t_middle", "t_top"):
        (tmp_path / f"{stem}-0.1.0-py3-none-any.whl").touch()
    found = members(workspace)
    lines = wheels.requirements(tmp_path, "t-middle", found, extras=True)
    assert [line.partition(" @ file://")[0] for line in lines] == ["t-base", "t-middle[extra]"]
    assert all(line.endswith("-0.1.0-py3-none-any.whl") for line in lines)
