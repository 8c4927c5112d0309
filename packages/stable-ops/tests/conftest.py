"""Hypothesis profiles without a deadline (first calls on a GPU take seconds), and Triton's interpreter."""

import importlib.util
import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("dev", max_examples=25, deadline=None)
settings.register_profile(
    "ci", max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("nightly", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


@pytest.fixture
def interpreted():
    """Run Python's arguments under Triton's interpreter and return what they print.

    In a process of its own: the interpreter is chosen when Triton is imported.
    """
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("triton") is None:
        pytest.skip("needs torch and Triton")

    def run(*arguments, **variables):
        environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", **variables}
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        return done.stdout

    return run


@pytest.fixture
def more_than_a_wheel():
    """What a wheel lacks shows in test_triton.py; the interpreter is too slow to show it four times more."""
    if os.environ.get("HYPOTHESIS_PROFILE") == "wheel":
        pytest.skip("run on the sources")
