"""The tables of the manual are those of the committed run."""

import json
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1]
RESULTS = PACKAGE / "benchmarks" / "results" / "gpu_h100.json"
DTYPES = ("float16", "bfloat16", "float32")
MATHS = PACKAGE.parents[1] / "docs" / "tools" / "stable-ops" / "maths.md"
pytestmark = pytest.mark.skipif(
    not (RESULTS.is_file() and MATHS.is_file()), reason="the results or the manual are not beside the tests"
)


def rows():
    """The cells of each table row that begins with an operator."""
    lines = re.findall(r"^\| ([a-z_]+ \|.*) \|$", MATHS.read_text(encoding="utf-8"), re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in lines if not line.startswith("op ")]


def test_accuracy_table():
    measured = json.loads(RESULTS.read_text(encoding="utf-8"))["accuracy"]
    table = [row for row in rows() if len(row) == 1 + len(DTYPES)]
    found = {(op, dtype): cell for op, *cells in table for dtype, cell in zip(DTYPES, cells, strict=True)}
    expected = {(m["op"], m["dtype"]): f"{m['max_ulp']:.5f}, {m['misrounded']}" for m in measured}
    assert found == expected
    assert all(m["outputs"] >= 10**7 for m in measured)


def test_speed_table():
    measured = json.loads(RESULTS.read_text(encoding="utf-8"))["speed"]
    found = [[row[0], *row[2:]] for row in rows() if len(row) == 5]
    names = ("stable_ops", "eager", "compile")
    assert found == [[m["op"], *(f"{m[f'{name}_share_of_copy']:.2f}" for name in names)] for m in measured]
