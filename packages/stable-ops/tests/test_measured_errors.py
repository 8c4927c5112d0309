"""The pages of measured errors are those of the committed numbers, and the numbers hold."""

import importlib
import json
import math
import sys
from pathlib import Path

import pytest

import stable_ops

PACKAGE = Path(__file__).parents[1]
BENCHMARKS = PACKAGE / "benchmarks"
MANUAL = PACKAGE.parents[1] / "docs" / "tools" / "stable-ops"
pytestmark = pytest.mark.skipif(
    not (BENCHMARKS.is_dir() and MANUAL.is_dir()), reason="the results or the manual are not beside the tests"
)
# Functions whose result is no number with an error.
WITHOUT_ERROR = {"accelerate", "patch"}


@pytest.fixture(scope="module")
def bench():
    """benchmarks/errors.py and what it imports."""
    for needed in ("torch", "ml_dtypes", "flint", "mpmath"):
        pytest.importorskip(needed)
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("errors")
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def results():
    return json.loads((BENCHMARKS / "results" / "errors.json").read_text(encoding="utf-8"))


def test_pages(bench, results):
    for name, render in (("accuracy", bench.render), ("pitfalls", bench.pitfalls_page)):
        assert (MANUAL / f"{name}.md").read_text(encoding="utf-8") == render(results), f"{name}.md is stale"


def test_every_public_function_is_measured(results):
    measured = {row["op"].split(",")[0] for row in results["rows"]}
    measured |= {line["function"].split(",")[0] for line in results["families"]}
    public = {name for name in stable_ops.__all__ if name[0].islower()} | {
        "OnlineSoftmax",
        "SGD",
        "Adam",
        "AdamW",
    }
    assert public - WITHOUT_ERROR - measured == set()


def test_every_combination_is_measured(bench, results):
    found = {(row["op"], row["dtype"], row["inputs"]) for row in results["rows"]}
    expected = {
        (name, dtype, kind)
        for name, op in bench.OPS.items()
        for dtype in bench.DTYPES
        for kind in (*bench.KINDS, *(bench.MASKED_KINDS if op.masks else ()))
    }
    assert found == expected


def test_no_error_exceeds_its_bound(results):
    slack = 1 + 2.0**-11  # the oracle's own 64 bits
    for row in results["rows"]:
        assert float(row["of_bound"]) <= slack, row
        assert row["bits_of_torch_form"] == 0, row
        if row["dtype"] in ("float16", "bfloat16"):
            assert row["misrounded"] == 0, row
    for line in results["families"]:
        assert line["of_bound"] is None or line["of_bound"] <= 1, line


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_some_are_measured_again(bench, dtype):
    for name, op in bench.OPS.items():
        for kind in ("normal", "range"):
            case = bench.measure_case(op, dtype, bench.arguments(op, kind, (4, 257), dtype))
            assert case["of_bound"] <= 1 + 2.0**-11, (name, kind, case)
            assert case["bits"] == 0
            assert dtype not in ("float16", "bfloat16") or case["wrong"] == 0


def test_a_wrong_operator_exceeds_the_bound(bench):
    from dataclasses import replace

    op = bench.OPS["softmax"]
    operands = bench.arguments(op, "scale 10", (4, 257), "float32")
    for wrong in (lambda x: op.ours(x) * (1 + 2**-22), lambda x: op.ours(x) * 0):
        planted = replace(op, ours=lambda x, wrong=wrong: wrong(x))
        assert bench.measure_case(planted, "float32", operands)["of_bound"] > 1.5


def test_pitfalls(bench, results):
    """Ours is run again, and is far nearer to the truth than the usual way."""
    for stored, pitfall in zip(results["pitfalls"], bench.pitfalls.PITFALLS, strict=True):
        assert stored["title"] == pitfall.title
        usual, ours, truth = (float(stored[f"{key}_value"]) for key in ("usual", "ours", "truth"))
        off = abs(ours - truth)
        assert not math.isfinite(usual) or off < 0.1 * abs(usual - truth), pitfall
        if pitfall.family != "sampling":  # 128,256 fractions
            again = bench.pitfalls.run(pitfall)
            assert math.isclose(again["ours_value"], ours, rel_tol=1e-2, abs_tol=1e-8), pitfall
