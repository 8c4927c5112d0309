"""Imports and declarations that disagree are found."""

import pytest

from mfi_tools.dependencies import deptry
from mfi_tools.workspace import members

NAMES = "t-base=t_base,t-middle=t_middle,t-top=t_top,t-tools=t_tools"


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("import t_base", None),
        ("", "DEP002"),
        ("import t_base\nimport t_top", "DEP001"),
        ("import t_base\ndef f():\n    import yaml", "DEP00"),
    ],
    ids=["agrees", "declared and unused", "undeclared sibling", "undeclared, inside a function"],
)
def test_deptry(workspace, source, rule):
    (workspace / "packages/middle/src/t_middle/__init__.py").write_text(source + "\n")
    fine, text = deptry(workspace, members(workspace)["t-middle"], NAMES)
    assert fine is (rule is None), text
    assert rule is None or rule in text
