"""`__all__` is what is public, importing is light, and every example in a docstring runs."""

import doctest
import importlib
import pkgutil
import subprocess
import sys
import types

import pytest

import stable_ops

FOUND = pkgutil.walk_packages(stable_ops.__path__, "stable_ops.")
MODULES = [m.name for m in FOUND if not m.name.startswith(("stable_ops.cli", "stable_ops.commands"))]
HEAVY = "torch scipy triton numba typer hypothesis ml_dtypes matplotlib"
RECORDS = ("Drift", "EigenCondition", "EigenResult", "NewtonResult", "OperatorNorm", "Stagnation")


@pytest.mark.parametrize(
    "name", ["stable_ops", "stable_ops.fp", "stable_ops.ops", "stable_ops.linalg", "stable_ops.optim"]
)
def test_all_is_what_is_public(name):
    module = importlib.import_module(name)
    names = {key: value for key, value in vars(module).items() if not key.startswith("_")}
    public = {key for key, value in names.items() if not isinstance(value, types.ModuleType)}
    assert public == set(module.__all__)


def test_importing_loads_numpy_at_most():
    code = (
        "import sys, stable_ops, stable_ops.fp, stable_ops.testing\n"
        f"print(set({HEAVY!r}.split()) & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_the_docstrings(name):
    if name.endswith("strategies"):
        pytest.importorskip("hypothesis")
    if name.startswith("stable_ops.ops.triton."):
        pytest.importorskip("triton")
    if name in ("stable_ops.compiled.loops", "stable_ops.compiled.rows"):
        pytest.importorskip("numba")
    module = importlib.import_module(name)
    found = doctest.DocTestFinder(exclude_empty=True).find(module)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for example in found:
        runner.run(example)
    assert runner.summarize(verbose=False).failed == 0


@pytest.mark.parametrize("name", [name for name in stable_ops.__all__ if name not in RECORDS])
def test_every_function_has_an_example(name):
    assert ">>>" in (getattr(stable_ops, name).__doc__ or "")


# A switch computes nothing that a bound could be given for.
SWITCHES = ("accelerate",)
FUNCTIONS = [
    name
    for name in stable_ops.__all__
    if isinstance(getattr(stable_ops, name), types.FunctionType) and name not in SWITCHES
]
STATED = {
    "parameters": ("Parameters", "as `", "are those of `"),
    "what is raised": ("Raises", "are those of `"),
    "cost": ("Cost", "cost", "only the `forward`"),
    "error": ("2^{", "u)", "ulp", "exact", "digits", "residual", "bits", "remainder", "Proven"),
    "source": ("References", "Source", "are those of `", "convention", "copies of these"),
}


@pytest.mark.parametrize("statement", STATED)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_states(name, statement):
    text = getattr(stable_ops, name).__doc__
    assert any(word in text for word in STATED[statement])
