"""Traces of torch's profiler: recorded here on the CPU, and a device's by hand."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from mfi_command import BadInput
from roofline import analyze_kernels


def operator(
    number: int, name: str, at: float, dims: list[Any], kinds: list[str], *, long: float = 10.0
) -> Any:
    args = {"External id": number, "Input Dims": dims, "Input type": kinds}
    return {"ph": "X", "cat": "cpu_op", "name": name, "ts": at, "dur": long, "tid": 1, "args": args}


def kernel(number: int, microseconds: float) -> Any:
    args = {"External id": number}
    return {"ph": "X", "cat": "kernel", "name": "k", "ts": 0, "dur": microseconds, "tid": 7, "args": args}


BF16 = "c10::BFloat16"
DEVICE = {
    "traceEvents": [
        operator(1, "aten::linear", 0, [[64, 32], [16, 32], []], [BF16, BF16, ""], long=100),
        operator(2, "aten::t", 5, [[16, 32]], [BF16]),
        operator(3, "aten::mm", 20, [[64, 32], [32, 16]], [BF16, BF16]),
        kernel(3, 7.0),
        operator(4, "aten::mm", 200, [[64, 32], [32, 16]], [BF16, BF16]),
        kernel(4, 5.0),
        operator(5, "aten::silu", 300, [[64, 16]], [BF16]),
        kernel(5, 2.0),
        operator(
            6, "aten::addmm", 400, [[16], [64, 32], [32, 16], [], []], [BF16] * 3 + ["Scalar", "Scalar"]
        ),
        kernel(6, 3.0),
        operator(7, "aten::some_new_thing", 500, [[64, 16]], [BF16]),
        kernel(7, 2.0),
        {"ph": "i", "name": "instant"},
    ]
}


def test_kernels_belong_to_the_operators_that_launched_them(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(DEVICE))
    found = analyze_kernels(path, device="H200")
    by_name = {one.operator.name: one for one in found.kernels}
    product = by_name["mm 64x32 by 32x16"]
    assert product.operator.count == 2
    assert product.operator.flop == 2 * 2 * 64 * 32 * 16
    assert product.operator.bytes == 2 * 2 * (64 * 32 + 32 * 16 + 64 * 16)
    assert product.measured_s == pytest.approx(12e-6)
    assert by_name["silu 64x16"].operator.bytes == 2 * 2 * 64 * 16
    assert by_name["addmm 64x32 by 32x16"].operator.bytes == 2 * (16 + 64 * 32 + 32 * 16 + 64 * 16)
    assert len(found.kernels) == 3


def test_a_recorded_trace_has_the_work_that_was_done(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from torch.profiler import ProfilerActivity, profile

    a, b = torch.randn(96, 64), torch.randn(64, 80)
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as run:
        for _ in range(3):
            torch.nn.functional.gelu(a @ b)
    path = tmp_path / "trace.json"
    run.export_chrome_trace(str(path))
    packed = tmp_path / "trace.json.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for file in (path, packed):
        found = analyze_kernels(file, device="H200", dtype="fp32")
        by_name = {one.operator.name: one for one in found.kernels}
        product = by_name["mm 96x64 by 64x80"]
        assert product.operator.count == 3
        assert product.operator.flop == 3 * 2 * 96 * 64 * 80
        assert product.dtype == "fp32"
        assert product.measured_s is not None
        assert product.measured_s > 0
        assert by_name["gelu 96x80"].operator.bytes == 3 * 2 * 4 * 96 * 80


@pytest.mark.parametrize("events", [[], [{"ph": "X", "cat": "cpu_op", "name": "aten::mm", "args": {}}]])
def test_a_trace_without_shapes_says_what_to_do(events: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({"traceEvents": events}))
    with pytest.raises(BadInput, match="record_shapes"):
        analyze_kernels(path, device="H200")
