"""What the package exports, and what importing it leaves unloaded."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import mm1_planner

MODULES = [module.name for module in pkgutil.walk_packages(mm1_planner.__path__, "mm1_planner.")]
HEAVY = ("numpy", "numba", "scipy", "simpy", "matplotlib", "typer")


def test_every_name_is_there_and_documented() -> None:
    assert sorted(mm1_planner.__all__) == sorted(mm1_planner._HOMES)
    for name in mm1_planner.__all__:
        value = getattr(mm1_planner, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), name
    with pytest.raises(AttributeError, match="no_such_name"):
        mm1_planner.no_such_name  # noqa: B018


def test_a_module_does_not_hide_a_function() -> None:
    for module in MODULES:
        importlib.import_module(module)
    assert inspect.isfunction(mm1_planner.plan)
    assert inspect.isfunction(mm1_planner.burstiness)
    assert inspect.isfunction(mm1_planner.solve)


@pytest.mark.parametrize("statement", ["import mm1_planner", "import mm1_planner.cli"])
def test_import_loads_nothing_heavy(statement: str) -> None:
    heavy = [name for name in HEAVY if not (name == "typer" and "cli" in statement)]
    code = f"{statement}; import sys; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_formulas_need_neither_scipy_nor_numba() -> None:
    code = (
        "import sys, mm1_planner as m; m.MMc(8, 5, 2).answer(); m.parse_service('lognormal:1:2'); "
        "print([name for name in ('numba', 'scipy', 'simpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "module", [m.name for m in pkgutil.walk_packages(mm1_planner.__path__, "mm1_planner.")]
)
def test_examples_in_docstrings(module: str) -> None:
    assert doctest.testmod(importlib.import_module(module)).failed == 0
