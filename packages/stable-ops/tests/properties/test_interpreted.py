"""The same properties for the Triton kernels under Triton's interpreter, in a process of their own."""

import re
from pathlib import Path

import pytest

pytest.importorskip("flint")


@pytest.mark.usefixtures("more_than_a_wheel")
def test_operators_under_the_interpreter(interpreted, tmp_path):
    """The interpreter is slow, so few examples of each."""
    file = Path(__file__).parent / "test_operators.py"
    printed = interpreted(
        *("-m", "pytest", "-q", "-k", "interpreter", "-p", "no:cacheprovider", file),
        HYPOTHESIS_PROFILE="wheel",
        HYPOTHESIS_STORAGE_DIRECTORY=str(tmp_path),
    )
    examples = re.search(r"examples on interpreter: (\d+)", printed)
    assert examples, printed
    assert int(examples[1]) > 60
