"""What each package says of its siblings: both bounds, and bounds that the siblings of this commit fit."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from mfi_tools.workspace import members

ROOT = Path(__file__).parents[1]
MEMBERS = {name: member for name, member in members(ROOT).items() if member.published}


def test_the_workspace_is_seen_whole():
    assert len(MEMBERS) == 10


@pytest.mark.parametrize("name", MEMBERS)
def test_every_sibling_has_a_lower_and_an_upper_bound(name):
    for sibling, need in MEMBERS[name].siblings.items():
        operators = sorted(clause.operator for clause in need.specifier)
        assert operators == ["<", ">="], f"{name} needs {need}: write >=0.1,<0.2"
        assert need.specifier.contains(MEMBERS[sibling].version), f"{name} needs {need}"


@pytest.mark.parametrize("name", MEMBERS)
def test_every_dependency_has_a_lower_bound(name):
    project = tomllib.loads((ROOT / MEMBERS[name].folder / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {}).values()
    lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    for line in lines:
        assert any(clause.operator in (">=", "==", "~=") for clause in Requirement(line).specifier), line
