"""The Python in the README runs, assertions included."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


def test_readme_examples_run() -> None:
    readme = Path(__file__).parents[1] / "README.md"
    if not readme.is_file():
        pytest.skip("the README is not beside the tests")
    blocks = re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
