"""What README says of times on a CPU is what the committed results say."""

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks" / "results"
RESULTS = FOLDER / "cpu_one_core.json"
COMPILED = sorted(FOLDER.glob("cpu_*_compiled.json"))
pytestmark = pytest.mark.skipif(not RESULTS.exists(), reason="the results are not beside the tests")


def rows(path=RESULTS, **wanted):
    found = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return [row for row in found if all(row[name] == value for name, value in wanted.items())]


def test_ours_are_correctly_rounded_and_no_worse_than_the_peer():
    assert len(rows()) > 70
    for row in rows():
        if row["dtype"] != "float64":
            assert row["ours_max_ulp"] <= 0.5 + 1e-6, row
        assert row["ours_max_ulp"] <= row["peer_max_ulp"] + 1e-6, row


def ratio(row):
    low, middle, high = row["ratio_quartiles"]
    assert low <= middle <= high
    return middle


def test_the_price_that_readme_names():
    for op in ("softmax", "log_softmax", "layer_norm", "swiglu"):
        assert all(ratio(row) < 1 for row in rows(form="torch", op=op)), op
    for op in ("gelu", "silu"):
        assert all(ratio(row) < 1 for row in rows(form="torch", op=op, dtype="float32")), op
    for op in ("gelu", "silu", "swiglu"):
        assert all(ratio(row) < 1 for row in rows(form="numpy", op=op)), op


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.stem)
def test_compiled_loops_are_as_exact_and_faster_than_scipy(path):
    for row in rows(path):
        assert row["ours_max_ulp"] <= 0.5 + 1e-6, row
        assert row["ours_max_ulp"] <= row["peer_max_ulp"] + 1e-6, row
    assert rows(path, form="numpy+")
    for row in rows(path, form="numpy+"):
        assert ratio(row) > 1, row
    for row in rows(path, form="torch+", op="rms_norm", size="fresh"):
        assert ratio(row) > 1, row


def test_what_readme_says_of_compiled_loops():
    path = FOLDER / "cpu_one_core_compiled.json"
    assert len(rows(path)) > 70
    for row in rows(path, form="numpy+"):
        assert ratio(row) >= 1.5, row
    for op, bar in (("softmax", 1), ("logsumexp", 3), ("rms_norm", 3)):
        found = rows(path, form="torch+", op=op, size="fresh")
        assert {row["dtype"] for row in found} == {"float32", "bfloat16", "float16"}
        assert all(ratio(row) >= bar for row in found), op
    for op in ("softmax", "log_softmax", "layer_norm", "silu", "swiglu"):
        assert all(ratio(row) < 1 for row in rows(path, form="torch+", op=op, size="warm")), op
    assert rows(path, form="numpy+", op="gelu")
    assert all(ratio(row) < 1 for row in rows(path, form="torch+", op="gelu"))
