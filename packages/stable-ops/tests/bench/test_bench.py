"""The bench on a CPU with few numbers: what it reports, not how fast."""

import json
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from mfi_command import BadInput
from stable_ops.bench import bench, cpu, table
from stable_ops.bench.cases import VOCABULARY, Point, plan
from stable_ops.bench.peers import Absent, Variant, variant
from stable_ops.cli import app

NUMPY = ("stable_ops/numpy", "scipy", "numpy")
SMALL = {"elements": 2**14, "calls": 3, "backends": NUMPY}


@pytest.fixture(autouse=True)
def few_judged(monkeypatch):
    monkeypatch.setattr(cpu, "_JUDGED", 2**13)


def test_points():
    points = plan(["softmax", "gelu", "top_p"], [128, 1024, 8192], ["bfloat16"], elements=2**24)
    assert points[:3] == tuple(Point("softmax", 2**24 // n, n, "bfloat16") for n in (128, 1024, 8192))
    assert points[3] == Point("gelu", 2048, 8192, "bfloat16")
    assert points[4:] == tuple(Point("top_p", n, VOCABULARY, "float32") for n in (64, 128))


BAD = {
    "ops": (["sotfmax"], ["top_p"]),
    "lengths": ([2**15], [0]),
    "dtypes": (["int8"], ["bfloat16"]),
    "backends": (["numba"],),
    "device": ("tpu",),
    "calls": (0,),
}


@pytest.mark.parametrize("options", [{name: value} for name, values in BAD.items() for value in values])
def test_bad_input(options):
    with pytest.raises(BadInput):
        bench(**{**SMALL, **options})


def test_no_gpu(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadInput, match="no CUDA device"):
        bench(device="cuda")


def test_rows():
    report = bench(ops=["softmax", "logsumexp", "rms_norm"], lengths=[64, 1024], **SMALL)
    assert {(r.op, r.shape, r.backend) for r in report.rows} == {
        (op, (2**14 // n, n), name)
        for op in ("softmax", "logsumexp", "rms_norm")
        for n in (64, 1024)
        for name in NUMPY
        if (op, name) != ("rms_norm", "scipy")
    }
    for row in report.rows:
        outputs = row.shape[0] if row.op == "logsumexp" else 2**14
        weight = row.shape[1] if row.op == "rms_norm" else 0
        assert row.gb_per_s * 1e9 * row.median_s == pytest.approx(4 * (2**14 + outputs + weight))
    assert [(a.op, a.backend, a.failed) for a in report.absent] == [("rms_norm", "scipy", False)] * 2
    assert all(row.max_ulp <= 0.5 for row in report.accuracy if row.backend == "stable_ops/numpy")
    assert max(row.max_ulp for row in report.accuracy if row.backend == "numpy") > 1


def test_a_slow_kernel_is_told_apart(monkeypatch):
    def slow(x):
        time.sleep(0.02)
        return x

    def build(backend, op):
        return Variant(backend, slow if backend == "scipy" else lambda x: x)

    monkeypatch.setattr(cpu, "variant", build)
    monkeypatch.setattr(cpu, "_judge", lambda built, point: iter(()))
    report = bench(ops=["softmax"], lengths=[64], **SMALL)
    seconds = {row.backend: row.median_s for row in report.rows}
    assert seconds["scipy"] > 0.02 > seconds["numpy"]


def test_kernels_take_turns_in_an_order_that_shifts():
    calls = []
    entries = [
        (Variant(name, lambda x, name=name: calls.append(name + x)), [("0",), ("1",)]) for name in "ab"
    ]
    cpu._in_turn(entries, 3)
    assert calls[2:] == ["a0", "b0", "b1", "a1", "a0", "b0"]


def test_extra_memory_is_that_of_the_call():
    operands = (np.zeros(2**16, dtype=np.float32),)
    assert cpu._extra_bytes(Variant("numpy", lambda x: x + 1), operands) < 2**12
    assert cpu._extra_bytes(Variant("numpy", lambda x: (x + 1) * 2), operands) >= 2**18


def test_our_failure_is_told(monkeypatch):
    def broken(x):
        raise FloatingPointError("bad luck")

    monkeypatch.setattr("stable_ops.softmax", broken)
    arguments = ["bench", "--op", "softmax", "--length", "64", "--elements", "4096", "--calls", "1"]
    result = CliRunner().invoke(app, [*arguments, "--backend", "stable_ops/numpy"])
    assert result.exit_code == 1


def test_json():
    arguments = [
        "bench",
        "--op",
        "softmax",
        "--length",
        "128",
        "--elements",
        "4096",
        "--calls",
        "2",
        "--json",
    ]
    result = CliRunner().invoke(app, [*arguments, "--backend", "scipy", "--backend", "numpy"])
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert {"device", "date", "versions", "calls", "rows", "absent", "accuracy"} <= report.keys()
    assert [row["backend"] for row in report["rows"]] == ["scipy", "numpy"]
    assert {"op", "shape", "dtype", "backend", "gb_per_s", "of_copy"} <= report["rows"][0].keys()


def test_table_has_a_column_for_each_library():
    report = bench(ops=["softmax", "gelu"], lengths=[64], **SMALL)
    header, lines = table.speed(report)
    assert header[-3:] == list(NUMPY)
    assert [line[0] for line in lines] == ["softmax", "gelu"]
    assert lines[1][-1] is None  # no gelu is written by hand with numpy
    _, judged = table.accuracy(report)
    assert [line[:3] for line in judged][:2] == [["softmax", "float32", name] for name in NUMPY[:2]]


def test_a_library_that_is_not_there_says_so():
    pytest.importorskip("torch")
    for backend in ("liger", "quack", "flashinfer"):
        with pytest.raises(Absent, match=r"has no such operator|cannot be imported"):
            variant(backend, "silu", "bfloat16")
