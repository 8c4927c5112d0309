"""The tables of the page on verification are those of the committed runs."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1]
BENCHMARKS = PACKAGE / "benchmarks"
PAGE = PACKAGE.parents[1] / "docs" / "tools" / "stable-ops" / "verification.md"
RUNS = [
    p for name in ("exhaustive", "norms") for p in sorted((BENCHMARKS / "results").glob(f"{name}_*.json"))
]
pytestmark = pytest.mark.skipif(not (RUNS and PAGE.is_file()), reason="the results or the page are not here")


def load(name, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("run", RUNS, ids=lambda path: path.stem)
def test_exhaustive_runs(run, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("flint")
    page = PAGE.read_text(encoding="utf-8")
    for line in load("exhaustive", monkeypatch).lines(json.loads(run.read_text(encoding="utf-8"))):
        assert line in page, f"{run.stem}: print it with exhaustive.py --show"


def test_bits(monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("ml_dtypes")
    files = [
        json.loads(p.read_text(encoding="utf-8")) for p in sorted((BENCHMARKS / "results").glob("bits*.json"))
    ]
    page = PAGE.read_text(encoding="utf-8")
    for line in load("bits", monkeypatch).summary(files):
        assert line in page, "print it with bits.py --compare"


def test_properties():
    path = BENCHMARKS / "results" / "properties_h100.json"
    run = json.loads(path.read_text(encoding="utf-8"))
    assert min(run["examples"].values()) >= 100
    counts = ", ".join(f"{op} {count}" for op, count in run["examples"].items())
    total, failed = sum(run["examples"].values()), len(run["failed_tests"])
    line = f"{run['device']}, {run['date']}: {total} examples ({counts}), {failed} test failed"
    assert line in PAGE.read_text(encoding="utf-8")


def test_properties_on_a_cpu():
    run = json.loads((BENCHMARKS / "results" / "properties_cpu.json").read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    assert {one["place"] for one in run["runs"]} == {"numpy", "compiled", "torch"}
    for one in run["runs"]:
        assert min(one["examples"].values()) >= 1000
        total, failed = sum(one["examples"].values()), len(one["failed_tests"])
        assert (
            f"{run['device']}, {run['date']}, {one['place']}: {total} examples, {failed} tests failed" in page
        )


def test_compiled_bits():
    run = json.loads((BENCHMARKS / "results" / "compiled_bits.json").read_text(encoding="utf-8"))
    every = {row["op"] for row in run["rows"] if row["outputs"] == 2**32}
    assert every == {"gelu", "gelu, tanh", "silu"}
    outputs, differ = (sum(row[name] for row in run["rows"]) for name in ("outputs", "differ"))
    line = f"{run['device']}, {run['date']}: {outputs:,} outputs, {differ} differ"
    assert line in PAGE.read_text(encoding="utf-8")
