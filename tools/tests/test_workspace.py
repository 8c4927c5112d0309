"""What is read from the members' projects."""

from pathlib import Path

import pytest

from mfi_tools.workspace import members, root_folder, with_dependants, with_dependencies


def test_members_of_the_small_workspace(workspace):
    found = members(workspace)
    assert {name: member.folder for name, member in found.items()} == {
        "t-base": "packages/base",
        "t-middle": "packages/middle",
        "t-top": "packages/top",
        "t-tools": "tools",
    }
    assert str(found["t-middle"].siblings["t-base"].specifier) == "<0.2,>=0.1"
    assert [name for name, member in found.items() if not member.published] == ["t-tools"]


def test_this_repository():
    found = members(Path(__file__).parents[2])
    assert found["mfi-stable-ops"].module == "stable_ops"
    assert found["mfi-stable-ops"].name == "stable-ops"
    assert set(found["latency-predictor"].siblings) == {"mfi-command", "mfi-stable-ops", "roofline"}


def test_reach_in_both_directions(workspace):
    found = members(workspace)
    assert with_dependants({"t-base"}, found) == {"t-base", "t-middle", "t-top"}
    assert with_dependants({"t-top"}, found) == {"t-top"}
    assert with_dependencies("t-top", found) == {"t-base", "t-middle", "t-top"}
    assert with_dependencies("t-base", found) == {"t-base"}


def test_root_is_found_from_within(workspace, monkeypatch):
    monkeypatch.chdir(workspace / "packages" / "top" / "src")
    assert root_folder() == workspace


def test_no_root_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="no uv workspace"):
        root_folder()
