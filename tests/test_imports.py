"""Importing a package is cheap, and needs nothing that is only an extra."""

import subprocess
import sys
from pathlib import Path

import pytest

from mfi_tools.workspace import members

MODULES = sorted(member.module for member in members(Path(__file__).parents[1]).values() if member.published)
HEAVY = ["matplotlib", "numba", "torch", "transformers", "triton", "typer"]

LOADED = """
import sys
import {module}
print(*[name for name in {heavy} if name in sys.modules])
"""

# A module that is None in sys.modules cannot be imported, as if it were not installed. A name may need an
# extra; then the error has to say which module is missing.
WITHOUT = """
import sys
heavy = {heavy}
sys.modules.update(dict.fromkeys(heavy))
import {module}
for name in {module}.__all__:
    try:
        getattr({module}, name)
    except (ImportError, ValueError) as error:
        assert any(missing in str(error) for missing in heavy), (name, error)
"""

# What `dir` shows, less what was imported from elsewhere to build the package.
PUBLIC = """
import types
import {module} as module
declared = module.__all__
assert len(declared) == len(set(declared)), "a name twice"
seen = {{
    name for name in dir(module)
    if not name.startswith("_")
    and not isinstance(getattr(module, name), types.ModuleType)
    and getattr(getattr(module, name), "__module__", module.__name__).partition(".")[0] == module.__name__
    and name not in ("TYPE_CHECKING", "annotations")
}}
assert not seen - set(declared), f"public but not in __all__: {{sorted(seen - set(declared))}}"
values = {{name: getattr(module, name) for name in declared}}
undocumented = [name for name, value in values.items() if callable(value) and not value.__doc__]
assert not undocumented, f"no docstring: {{undocumented}}"
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", MODULES)
def test_import_loads_nothing_heavy(module):
    assert run(LOADED.format(module=module, heavy=HEAVY)).split() == []


@pytest.mark.parametrize("module", MODULES)
def test_without_the_heavy_modules_a_name_works_or_says_what_it_needs(module):
    run(WITHOUT.format(module=module, heavy=HEAVY))


@pytest.mark.parametrize("module", MODULES)
def test_all_equals_the_public_names(module):
    run(PUBLIC.format(module=module))
