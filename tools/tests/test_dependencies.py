"""Imports and declarations that disagree are found."""

import pytest

from mfi_tools.dependencies import deptry, wrong_advice
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


REQUIRE = 'from t_base import require\n\ndef f():\n    return require("{}", extra="{}", distribution="{}")\n'


def declare_extra(workspace):
    project = workspace / "packages/middle/pyproject.toml"
    project.write_text(project.read_text().replace("extra = []", 'extra = ["torch>=2"]'))


def test_a_module_that_require_loads_counts_as_imported(workspace):
    declare_extra(workspace)
    source = workspace / "packages/middle/src/t_middle/__init__.py"
    source.write_text("import t_base\n")
    assert not deptry(workspace, members(workspace)["t-middle"], NAMES)[0]
    source.write_text(REQUIRE.format("torch.nn", "extra", "t-middle"))
    fine, text = deptry(workspace, members(workspace)["t-middle"], NAMES)
    assert fine, text
    assert wrong_advice(workspace, members(workspace)["t-middle"]) == []


@pytest.mark.parametrize(
    ("module", "extra", "distribution"),
    [("torch", "plot", "t-middle"), ("torch", "extra", "t-base"), ("numba", "extra", "t-middle")],
    ids=["no such extra", "another package", "not in the extra"],
)
def test_advice_that_would_not_help_is_found(workspace, module, extra, distribution):
    declare_extra(workspace)
    source = workspace / "packages/middle/src/t_middle/__init__.py"
    source.write_text(REQUIRE.format(module, extra, distribution))
    (problem,) = wrong_advice(workspace, members(workspace)["t-middle"])
    assert problem.startswith("src/t_middle/__init__.py:4: ")
