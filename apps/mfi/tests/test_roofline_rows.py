"""The recorded row of the verdicts on runs made up for it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from mfi.checks.roofline_kernels import KERNELS, judge
from roofline import device, place
from roofline.tabled import kernel_from

SIZES: dict[str, dict[str, Any]] = {
    "gemm": {"kind": "matmul", "m": 4096, "n": 4096, "k": 4096},
    "gemv": {"kind": "matmul", "m": 1, "n": 8192, "k": 8192},
    "attention_prefill": {
        "kind": "attention",
        "batch": 1,
        "queries": 4096,
        "keys": 4096,
        "heads": 32,
        "kv_heads": 32,
        "head_dim": 128,
    },
    "attention_decode": {
        "kind": "attention",
        "batch": 8,
        "queries": 1,
        "keys": 4096,
        "heads": 32,
        "kv_heads": 32,
        "head_dim": 128,
    },
}


@pytest.fixture
def ceilings(tmp_path: Path) -> str:
    path = tmp_path / "ceilings.json"
    path.write_text(json.dumps(device("H200").to_dict()))
    return str(path)


@pytest.fixture
def cases(ceilings: str) -> list[dict[str, Any]]:
    """A run whose counters say what the counts say."""
    found = []
    for name in KERNELS:
        case = {"name": name, "dtype": "bf16", **SIZES.get(name, {"kind": name, "rows": 4096, "width": 8192})}
        operator = kernel_from(case, where=name, dtype="bf16").operator
        bound = place(operator, device(ceilings), dtype="bf16").bound
        shares = {"compute": 0.2, "memory": 0.2, bound: 0.9}
        found.append({**case, "dram_bytes": operator.bytes, "utilisation": shares})
    return found


def test_a_run_that_agrees_passes(cases: list[dict[str, Any]], ceilings: str) -> None:
    outcome = judge(cases, ceilings, "a run")
    assert outcome.passed
    assert outcome.measured == {"agree": 8, "of": 8, "bytes_off": 0.0}


@pytest.mark.parametrize("name", KERNELS)
def test_one_other_verdict_fails(name: str, cases: list[dict[str, Any]], ceilings: str) -> None:
    wrong = copy.deepcopy(cases)
    for case in wrong:
        if case["name"] == name:
            shares = case["utilisation"]
            shares["compute"], shares["memory"] = shares["memory"], shares["compute"]
    outcome = judge(wrong, ceilings, "a run")
    assert not outcome.passed
    assert name in outcome.detail


def test_bytes_that_are_off_or_a_kernel_that_is_missing_fail(
    cases: list[dict[str, Any]], ceilings: str
) -> None:
    more = copy.deepcopy(cases)
    more[2]["dram_bytes"] *= 1.11
    assert not judge(more, ceilings, "a run").passed
    assert not judge(cases[1:], ceilings, "a run").passed
