"""Which packages a change touches."""

import json

import pytest

from mfi_tools.affected import affected, changed_paths, main
from mfi_tools.workspace import members

ALL = {"t-base", "t-middle", "t-top", "t-tools"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("packages/base/src/t_base/__init__.py", {"t-base", "t-middle", "t-top"}),
        ("packages/middle/tests/test_t_middle.py", {"t-middle", "t-top"}),
        ("packages/top/README.md", {"t-top"}),
        ("packages/topless/README.md", set()),
        ("docs/index.md", set()),
        ("README.md", set()),
        ("uv.lock", ALL),
        ("conftest.py", ALL),
        (".github/workflows/ci.yml", ALL),
        ("tools/src/t_tools/__init__.py", ALL),
    ],
)
def test_affected(workspace, path, expected):
    assert affected([path], members(workspace)) == expected


def test_changes_since_the_merge_base(workspace, git):
    git("switch", "-q", "-c", "topic")
    (workspace / "packages/middle/src/t_middle/__init__.py").write_text("VALUE = 1\n")
    git("commit", "-q", "-a", "-m", "topic")
    (workspace / "packages/top/new file.py").write_text("")  # not tracked yet, and a space in its name
    (workspace / "packages/top/CHANGELOG.md").unlink()  # not committed yet
    git("switch", "-q", "main")
    (workspace / "packages/base/README.md").write_text("on main, after the branch\n")
    git("add", "packages/base/README.md")
    git("commit", "-q", "-m", "main moved on")
    git("switch", "-q", "topic")
    assert changed_paths(workspace, "main") == [
        "packages/middle/src/t_middle/__init__.py",
        "packages/top/CHANGELOG.md",
        "packages/top/new file.py",
    ]


def test_a_renamed_file_affects_both_packages(workspace, git):
    git("mv", "packages/base/tests/test_t_base.py", "packages/top/tests/test_moved.py")
    git("commit", "-q", "-m", "moved")
    assert affected(changed_paths(workspace, "HEAD~1"), members(workspace)) == {"t-base", "t-middle", "t-top"}


def test_output_is_a_matrix(workspace, git, monkeypatch, capsys):
    monkeypatch.chdir(workspace)
    (workspace / "packages/top/x.py").write_text("")
    main(["--base", "HEAD", "--json"])
    assert json.loads(capsys.readouterr().out) == ["packages/top"]
    (workspace / "packages/top/x.py").unlink()
    main(["--base", "HEAD", "--json"])
    assert capsys.readouterr().out == "[]\n"


def test_unknown_base(workspace, git, monkeypatch):
    monkeypatch.chdir(workspace)
    with pytest.raises(SystemExit, match="merge-base nowhere"):
        main(["--base", "nowhere"])
