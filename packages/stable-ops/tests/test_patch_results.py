"""The guide's table of patched models is that of the committed run."""

import importlib.util
import json
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1]
RESULTS = PACKAGE / "benchmarks" / "results" / "patch_h100.json"
GUIDE = PACKAGE.parents[1] / "docs" / "tools" / "stable-ops" / "guide.md"


@pytest.mark.skipif(not (RESULTS.is_file() and GUIDE.is_file()), reason="the run or the manual is not here")
def test_table_of_the_guide():
    spec = importlib.util.spec_from_file_location("bench_patch", PACKAGE / "benchmarks" / "patch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert module.markdown(results) in GUIDE.read_text(encoding="utf-8")
    assert results["device"] in GUIDE.read_text(encoding="utf-8")
    for row in results["rows"]:
        assert row["speed_up"] == pytest.approx(row["original_ms"] / row["patched_ms"])
