"""The same properties for the Triton kernels under Triton's interpreter, in a process of their own."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("flint")
pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton")


def test_operators_under_the_interpreter(tmp_path):
    """The interpreter is chosen when Triton is imported; it is slow, so few examples of each."""
    environment = {
        **os.environ,
        "TRITON_INTERPRET": "1",
        "HYPOTHESIS_PROFILE": "wheel",
        "OMP_NUM_THREADS": "1",
    }
    environment["HYPOTHESIS_STORAGE_DIRECTORY"] = str(tmp_path)
    file = Path(__file__).parent / "test_operators.py"
    command = [sys.executable, "-m", "pytest", "-q", "-k", "interpreter", "-p", "no:cacheprovider", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    examples = re.search(r"examples on interpreter: (\d+)", done.stdout)
    assert examples, done.stdout
    assert int(examples[1]) > 60
