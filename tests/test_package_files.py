"""Every package has the files that a user, an index and a release expect."""

import tomllib
from pathlib import Path

import pytest

from mfi_tools.release import fragments, in_changelog
from mfi_tools.workspace import members

ROOT = Path(__file__).parents[1]
MEMBERS = {name: member for name, member in members(ROOT).items() if member.published}


@pytest.mark.parametrize("name", MEMBERS)
def test_files(name):
    folder = ROOT / MEMBERS[name].folder
    for file in ("README.md", "CHANGELOG.md", f"src/{MEMBERS[name].module}/py.typed"):
        assert (folder / file).is_file(), file
    assert (folder / "changelog.d").is_dir()
    assert list((folder / "tests").rglob("test_*.py")), "no tests"
    assert not list((folder / "tests").rglob("__init__.py")), "tests are collected by path, not as a package"


@pytest.mark.parametrize("name", MEMBERS)
def test_readme_says_more_than_the_description(name):
    folder = ROOT / MEMBERS[name].folder
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {MEMBERS[name].name}\n")
    assert "```" in text, "no example"
    assert f"pip install {name}" in text or f"pip install '{name}" in text, "no word on how to install it"


@pytest.mark.parametrize("name", MEMBERS)
def test_project_table(name):
    project = tomllib.loads((ROOT / MEMBERS[name].folder / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"
    assert project["requires-python"] == ">=3.11"
    assert project["readme"] == "README.md"


@pytest.mark.parametrize("name", MEMBERS)
def test_a_change_is_recorded(name):
    member = MEMBERS[name]
    assert fragments(ROOT, member) or in_changelog(ROOT, member), "neither a fragment nor a released section"
