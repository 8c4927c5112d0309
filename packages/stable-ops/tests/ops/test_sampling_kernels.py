"""The sampling kernels under Triton's interpreter, on the CPU: their logic; GPU tests judge the device."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton")


@pytest.mark.parametrize("extent", ["brief", pytest.param("thorough", marks=pytest.mark.slow)])
def test_kernels_under_the_interpreter(extent):
    """In a process of its own: the interpreter is chosen when Triton is imported."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    trial = Path(__file__).with_name("interpreted_sampling.py")
    done = subprocess.run(
        [sys.executable, trial, extent], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cases passed" in done.stdout
