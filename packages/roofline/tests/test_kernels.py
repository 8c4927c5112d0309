"""Tables of kernels on the chart, and measurements that cannot be."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from mfi_command import BadInput
from roofline import Kernel, Operator, analyze_kernels, analyze_torch
from roofline.tabled import KINDS, kernel_from

TABLE = """name,kind,m,n,k,flop,bytes,dtype,time_s,count
gemm,matmul,512,512,512,,,bf16,2e-5,3
stencil,vector,,,,1e6,4e6,fp32,3e-6,
"""


def test_a_csv_table(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(TABLE)
    found = analyze_kernels(path, device="H100")
    gemm, stencil = found.kernels
    assert gemm.operator.flop == 3 * 2 * 512**3
    assert gemm.operator.bytes == 3 * 2 * 3 * 512**2
    assert gemm.measured_s == pytest.approx(6e-5)
    assert stencil.operator.flop == 10**6
    assert found.placed[1].bound == "memory"
    row = found.to_dict()["operators"][1]
    assert row["of_roof"] == pytest.approx(4e6 / 3350e9 / 3e-6)
    assert row["measured_bytes_per_s"] == pytest.approx(4e6 / 3e-6)


def test_toml_and_json_tables(tmp_path: Path) -> None:
    toml = tmp_path / "table.toml"
    toml.write_text('[[kernel]]\nname = "a"\nflop = 1e9\nbytes = 1e6\n')
    plain = tmp_path / "table.json"
    plain.write_text(json.dumps([{"name": "a", "flop": 1e9, "bytes": 1e6}]))
    one, other = (analyze_kernels(path, device="H100").kernels for path in (toml, plain))
    assert one == other


SIZES = {
    "m": 3,
    "n": 5,
    "k": 7,
    "batch": 2,
    "queries": 4,
    "keys": 6,
    "heads": 4,
    "kv_heads": 2,
    "head_dim": 8,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_named(kind: str) -> None:
    found = kernel_from({"kind": kind, "rows": 3, "width": 4, **SIZES}, where="x", dtype="fp16")
    assert found.operator.bytes > 0
    assert found.operator.name == kind


def test_what_was_measured_over_the_roof_is_pointed_out() -> None:
    cached = Kernel(Operator("cached", "vector", 1, 10**6, 10**8), "bf16", 1e-6)
    fast = Kernel(Operator("fast", "matmul", 1, 10**12, 10**6), "bf16", 5e-4)
    fair = Kernel(Operator("fair", "matmul", 1, 10**12, 10**6), "bf16", 2e-3)
    notes = analyze_kernels([cached, fast, fair], device="H100").notes
    assert len(notes) == 2
    assert "cached: measured 29.85 times the roof: the data was still in a cache" in notes[0]
    assert "another dtype ran" in notes[1]


def test_a_torch_function_is_placed() -> None:
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(4096, 4096, device="meta", dtype=torch.bfloat16)
    x = torch.empty(1, 4096, device="meta", dtype=torch.bfloat16)
    found = analyze_torch(layer, x, device="H100")
    (placed,) = found.operators
    assert placed.bound == "memory"
    assert found.total_time_s == pytest.approx(2 * (4096**2 + 3 * 4096) / 3350e9)
    with pytest.raises(BadInput, match="layer"):
        analyze_torch(layer, x, device="H100", by="layer")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "expected flop and bytes"),
        ({"flop": 1}, "expected flop and bytes"),
        ({"flop": 1, "bytes": 0}, "bytes is 0"),
        ({"flop": math.nan, "bytes": 1}, "flop"),
        ({"flop": 1e40, "bytes": 1}, "flop"),
        ({"flop": "many", "bytes": 1}, "flop"),
        ({"flop": 1, "bytes": -1}, "bytes"),
        ({"flop": 1, "bytes": 1, "time_s": 0}, "time_s"),
        ({"flop": 1, "bytes": 1, "dtype": "fp9"}, "fp9"),
        ({"flop": 1, "bytes": 1, "count": 1.5}, "count"),
        ({"kind": "matmul", "m": 1, "n": 2}, "k is missing"),
        ({"kind": "matmul", "m": 0, "n": 2, "k": 3}, "m is 0"),
    ],
)
def test_unusable_entries(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        kernel_from(entry, where="table, line 2", dtype="bf16")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"x,y\n1,2\n", "expected columns"),
        ("a.csv", b"\xff\xfe\x00", "not text"),
        ("a.toml", b"= 3", "cannot be read as .toml"),
        ("a.toml", b"x = 1\n", "expected a list of kernels"),
        ("a.json", b"{", "cannot be read as .json"),
        ("a.json", b"[1, 2]", "expected a list of kernels"),
        ("a.json", b"[]", "no kernel"),
        ("a.json.gz", b"\x1f\x8bbroken", "not text"),
    ],
)
def test_unusable_files(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BadInput, match=message):
        analyze_kernels(path, device="H100")


def test_a_missing_file() -> None:
    with pytest.raises(BadInput, match="no such file"):
        analyze_kernels("absent.csv", device="H100")
