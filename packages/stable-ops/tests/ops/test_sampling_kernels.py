"""The sampling kernels under Triton's interpreter, on the CPU: their logic; GPU tests judge the device."""

from pathlib import Path

import pytest


@pytest.mark.usefixtures("more_than_a_wheel")
@pytest.mark.parametrize("extent", ["brief", pytest.param("thorough", marks=pytest.mark.slow)])
def test_kernels_under_the_interpreter(interpreted, extent):
    trial = Path(__file__).with_name("interpreted_sampling.py")
    assert "cases passed" in interpreted(trial, extent)
