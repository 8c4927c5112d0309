"""The worked examples print what stands beside them, and the comparison notices when they do not."""

import subprocess
import sys

import pytest

from quant_risk_analyzer.examples import example, same


@pytest.mark.slow  # `mfi verify` runs all three in CI
@pytest.mark.parametrize("name", ["rating", "outlier", "budget"])
def test_prints_what_its_text_says(name):
    found = example(name)
    printed = found.run()
    assert same(printed, found.printed), printed


@pytest.mark.parametrize("printed", ["A 7.3e-04, 17 layers, 29.34", "A 7.4e-04, 17 layers, 29.39"])
def test_a_rounded_digit_is_the_same(printed):
    assert same(printed, "A 7.3e-04, 17 layers, 29.34")


@pytest.mark.parametrize(
    "printed",
    [
        "B 7.3e-04, 17 layers, 29.34",
        "A 7.5e-04, 17 layers, 29.34",
        "A 7.3e-03, 17 layers, 29.34",
        "A 7.3e-04, 18 layers, 29.34",
        "A 7.3e-04, 17 layers, 29.41",
        "A 7.3e-04, 17 layers",
    ],
)
def test_another_number_or_word_is_not(printed):
    assert not same(printed, "A 7.3e-04, 17 layers, 29.34")


def test_the_command_refuses_another_name():
    command = [sys.executable, "-m", "quant_risk_analyzer.examples", "nothing"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "unknown example 'nothing': choose from rating, outlier, budget\n"
