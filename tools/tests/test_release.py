"""Versions, change logs and tags."""

import subprocess
import sys
from pathlib import Path

import pytest

from mfi_tools import release
from mfi_tools.workspace import members


@pytest.mark.parametrize(
    ("current", "types", "released", "expected"),
    [
        ("0.1.0", {"added"}, False, "0.1.0"),
        ("0.1.0", {"fixed"}, True, "0.1.1"),
        ("0.1.9", {"fixed"}, True, "0.1.10"),
        ("0.1.3", {"added", "fixed"}, True, "0.2.0"),
        ("0.1.3", {"removed"}, True, "0.2.0"),
        ("1.2.3", {"added"}, True, "1.3.0"),
        ("1.2.3", {"changed", "fixed"}, True, "2.0.0"),
        ("1.2.3", {"fixed"}, True, "1.2.4"),
    ],
)
def test_next_version(current, types, released, expected):
    assert release.next_version(current, types, released=released) == expected


def test_tag_is_named_after_the_folder():
    found = members(Path(__file__).parents[2])
    assert release.tag(found["mfi-stable-ops"], "0.1.0") == "stable-ops-v0.1.0"
    assert release.tag(found["math-for-infra"], "0.1.0") == "mfi-v0.1.0"


def write(workspace, package, name, text="A sentence."):
    (workspace / "packages" / package / "changelog.d" / name).write_text(text + "\n")


@pytest.mark.parametrize("name", ["12.added.md", "+initial.added.md", "12.fixed.2.md"])
def test_fragment_names_that_fit(workspace, name):
    write(workspace, "base", name)
    assert release.problems(workspace, members(workspace), set()) == []


@pytest.mark.parametrize("name", ["12.feature.md", "initial.md", "12.added.rst", "two words.added.md"])
def test_fragment_names_that_would_be_lost(workspace, name):
    write(workspace, "base", name)
    (problem,) = release.problems(workspace, members(workspace), set())
    assert problem.startswith(f"packages/base/changelog.d/{name}: name it")


def test_a_bound_that_excludes_the_sibling_is_found(workspace):
    project = workspace / "packages/base/pyproject.toml"
    project.write_text(project.read_text().replace("0.1.0", "0.2.0"))
    (problem,) = release.problems(workspace, members(workspace), set())
    assert "packages/middle: t-base<0.2,>=0.1 excludes the 0.2.0" in problem


def test_a_tag_without_a_section_is_found(workspace):
    (problem,) = release.problems(workspace, members(workspace), {"base-v0.1.0"})
    assert "base-v0.1.0 is tagged" in problem


def test_from_fragments_to_tags(workspace, git):
    """The first release keeps its version; the next one moves it; each writes its change log once."""
    write(workspace, "base", "+initial.added.md", "The first thing.")
    found = members(workspace)
    assert release.to_release(workspace, found, set()) == {"t-base": "0.1.0"}
    release.propose(workspace, found, {"t-base": "0.1.0"})
    log = (workspace / "packages/base/CHANGELOG.md").read_text()
    assert "## 0.1.0 (" in log
    assert "- The first thing." in log
    assert not list((workspace / "packages/base/changelog.d").glob("*.md"))
    due = release.missing_tags(workspace, members(workspace), set())
    assert [item["tag"] for item in due] == ["base-v0.1.0"]
    git("add", ".")
    git("commit", "-q", "-m", "release")
    git("tag", "base-v0.1.0")
    assert release.missing_tags(workspace, members(workspace), release.existing_tags(workspace)) == []

    write(workspace, "base", "7.fixed.md", "The second thing.")
    tags = release.existing_tags(workspace)
    versions = release.to_release(workspace, members(workspace), tags)
    assert versions == {"t-base": "0.1.1"}
    release.propose(workspace, members(workspace), versions)
    after = members(workspace)
    assert after["t-base"].version == "0.1.1"
    log = (workspace / "packages/base/CHANGELOG.md").read_text()
    assert log.index("## 0.1.1 (") < log.index("## 0.1.0 (")
    assert release.problems(workspace, after, tags) == []


def test_check_of_this_repository():
    """The repository can be released as it stands."""
    done = subprocess.run(
        [sys.executable, "-m", "mfi_tools.release", "check"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
