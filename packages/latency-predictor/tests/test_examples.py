"""Examples in the README and in docstrings run."""

import doctest
import re
from pathlib import Path

import pytest

from latency_predictor import prediction as example

README = Path(__file__).parents[1] / "README.md"


def test_readme_runs() -> None:
    if not README.is_file():
        pytest.skip("the README is not beside these tests")
    blocks = re.findall(
        r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert blocks
    for block in blocks:
        exec(compile(block, str(README), "exec"), {})


def test_docstrings_run() -> None:
    found = doctest.testmod(example)
    assert found.attempted > 0
    assert found.failed == 0
