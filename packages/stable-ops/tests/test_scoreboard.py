"""The scoreboard page is what the committed runs give, and the runs agree with themselves."""

import importlib.util
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1]
PAGE = PACKAGE.parents[1] / "docs" / "tools" / "stable-ops" / "scoreboard.md"
GENERATOR = PACKAGE / "benchmarks" / "scoreboard.py"
RUNS = ("h100", "h100_quack", "h200", "bench_cpu")
pytestmark = pytest.mark.skipif(
    not (GENERATOR.is_file() and PAGE.is_file()),
    reason="the benchmarks or the manual are not beside the tests",
)


@pytest.fixture(scope="module")
def scoreboard():
    spec = importlib.util.spec_from_file_location("scoreboard", GENERATOR)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page(scoreboard):
    assert PAGE.read_text(encoding="utf-8") == scoreboard.page()


@pytest.mark.parametrize("name", RUNS)
def test_shares_follow_from_times(scoreboard, name):
    run = scoreboard.load(name)
    if run is None:
        pytest.skip("not measured")
    assert run["device"]
    assert run["date"]
    assert run["versions"]
    for row in run["rows"]:
        rows, length = row["shape"]
        count, width = rows * length, {"float32": 4, "float16": 2, "bfloat16": 2}[row["dtype"]]
        inputs = 2 * count if row["op"] == "swiglu" else count
        outputs = {"logsumexp": rows * width, "top_p": 8 * rows}.get(row["op"], count * width)
        vectors = {"layer_norm": 2, "rms_norm": 1}.get(row["op"], 0) * length
        moved = (inputs + vectors) * width + outputs
        assert row["gb_per_s"] == pytest.approx(moved / row["median_s"] / 1e9, rel=1e-5)
        key = f"{row['op']} {rows}x{length} {row['dtype']}"
        assert row["of_copy"] == pytest.approx(row["gb_per_s"] / run["copy_gb_per_s"][key], rel=1e-5)
        if row["of_read"] is not None:
            assert row["of_read"] == pytest.approx(row["gb_per_s"] / run["read_gb_per_s"][key], rel=1e-5)


def test_plans_are_the_fastest_launches(scoreboard):
    pytest.importorskip("torch")
    plans = pytest.importorskip("stable_ops.ops.cuda.plans")
    run = scoreboard.load("tune_h200")
    assert run["device"]
    chosen = {op: dict(lengths) for op, lengths in plans.chosen().items()}
    for row in run["rows"]:
        for name, ms in row["ms"].items():
            assert row["of_copy"][name] == pytest.approx(row["ms"]["copy"] / ms, rel=1e-3), (row["op"], name)
        right = [n for n, count in row["differ"].items() if row["op"] == "softmax" or count == 0]
        best = max(right, key=row["of_copy"].__getitem__)
        fields = chosen[row["op"]][row["length"]]
        if fields is None:
            assert row["of_copy"][best] < 1.01 * row["of_copy"]["triton"]
        else:
            assert re.findall(r"\d+", best)[1:] == [str(n) for n in fields[:5]]


def test_cells(scoreboard):
    assert [scoreboard.part(*pair) for pair in ((0, 10), (1, 4), (1, 10**6))] == ["0", "25.00 %", "1e-4 %"]
    assert [scoreboard.ulps(x) for x in (0.5, 0.50001, 52.34, 1e6, None)] == [
        "0.50000",
        "0.50001",
        "52.3",
        "1,000,000",
        "wrong NaN or infinity",
    ]
    row = {"backend": "stable_ops", "of_copy": 0.97, "of_read": None}
    assert [scoreboard.cell(row, aim) for aim in (0.97, 0.98, None)] == ["**0.970**", "0.970", "0.970"]
    trial = {"failures": 5, "sorts": {"raises": 3, "accuracy": 2}}
    assert [scoreboard.failures(t) for t in (trial, {"failures": 0, "sorts": {}})] == ["2, 3 refused", "0"]
    same = {"differing": [], "batches": [1, 2]}
    assert scoreboard.bits([same, {"differing": [2], "batches": [1, 2, 4]}]) == "no, 1 of 5"
    assert scoreboard.bits([same]) == "yes"
