"""The public surface: names, and what importing it loads."""

import subprocess
import sys

import roofline


def test_all_is_the_public_surface() -> None:
    assert sorted(roofline.__all__) == list(roofline.__all__) or set(roofline.__all__) <= set(dir(roofline))
    modules = {"analysis", "arguments", "configs", "devices", "dtypes", "measurement", "operators", "passes"}
    public = (
        {name for name in vars(roofline) if not name.startswith("_")} - modules - {"plot", "shapes", "cli"}
    )
    public -= {"measurement_cpu", "measurement_cuda"}
    assert public | {"devices"} == set(roofline.__all__)


def test_import_loads_nothing_heavy() -> None:
    heavy = "('torch', 'matplotlib', 'typer', 'transformers', 'numpy')"
    code = f"import roofline, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
