"""The table of docs/architecture.md is what the packages declare, and what their code does."""

import re
from pathlib import Path

import grimp
import pytest

from mfi_tools.workspace import members

ROOT = Path(__file__).parents[1]
MEMBERS = {name: member for name, member in members(ROOT).items() if member.published}
MODULES = {member.module: member.name for member in MEMBERS.values()}


def table() -> dict[str, set[str]]:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w[\w-]*) \| (.+) \|$", text.partition("| package | may use |")[2], re.MULTILINE)
    return {
        package: set() if uses == "nothing of ours" else set(re.split(r", ", uses)) for package, uses in rows
    }


@pytest.fixture(scope="module")
def imported() -> dict[str, set[str]]:
    """Which package imports which, imports inside functions included."""
    graph = grimp.build_graph(*MODULES, cache_dir=None)
    edges: dict[str, set[str]] = {name: set() for name in MODULES.values()}
    for importer in graph.modules:
        for target in graph.find_modules_directly_imported_by(importer):
            pair = [MODULES[module.partition(".")[0]] for module in (importer, target)]
            if pair[0] != pair[1]:
                edges[pair[0]].add(pair[1])
    return edges


def test_every_package_is_in_the_table_and_the_picture():
    assert set(table()) == set(MODULES.values())
    picture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("```text")[2]
    for name in MODULES.values():
        assert name in picture.partition("```")[0], f"{name} is not in the picture"


@pytest.mark.parametrize("name", MODULES.values())
def test_table_is_what_is_declared(name):
    member = next(member for member in MEMBERS.values() if member.name == name)
    assert table()[name] == {MEMBERS[sibling].name for sibling in member.siblings}


@pytest.mark.parametrize("name", MODULES.values())
def test_code_imports_nothing_else(name, imported):
    assert imported[name] <= table()[name]


@pytest.mark.parametrize("name", MODULES.values())
def test_nothing_is_declared_in_vain(name, imported):
    assert table()[name] <= imported[name]
