"""The recorded row of the GPU kernels on runs made up for it."""

from __future__ import annotations

import pytest

from mfi.checks import stable_ops_kernels as kernels


def run(**changed):
    """A run in which everything holds; changed maps "backend op length" to another share."""
    rows = []
    for op in kernels.OPS:
        for length in (*kernels.LENGTHS, 65_536):
            for backend, share in (("stable_ops", 0.98), ("torch", 0.5), ("torch.compile", 0.985)):
                share = changed.get(f"{backend} {op} {length}", share)
                if share:
                    row = {"op": op, "shape": [1024, length], "dtype": "bfloat16", "backend": backend}
                    rows.append({**row, "of_copy": share, "median_s": 1e-3 / share})
    return rows


def test_all_holds():
    outcome = kernels.judge(run(), "a GPU")
    assert outcome.passed
    assert outcome.measured == dict.fromkeys(kernels.OPS, 0.98)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"stable_ops softmax 8192": 0.94}, "a GPU"),
        ({"torch.compile rms_norm 4096": 1.0}, "torch.compile is faster at rms_norm 4096"),
        ({"stable_ops layer_norm 32768": None}, "lacks some"),
        ({"torch softmax 4096": None}, "lacks some"),
    ],
)
def test_one_thing_does_not(changed, why):
    outcome = kernels.judge(run(**changed), "a GPU")
    assert not outcome.passed
    assert why in outcome.detail


def test_other_lengths_do_not_count():
    assert kernels.judge(run(**{"stable_ops softmax 65536": 0.5}), "a GPU").passed


def test_without_a_gpu_the_recorded_shares_are_told(tmp_path, monkeypatch):
    import json

    shares = {"copy": 1.0, "triton": 0.9, "1x8192 threads=128": 0.96}
    rows = [{"op": op, "length": n, "of_copy": shares} for op in kernels.OPS for n in kernels.LENGTHS]
    path = tmp_path / "run.json"
    monkeypatch.setattr(kernels, "RESULTS", path)
    assert kernels.recorded() == ""
    path.write_text(json.dumps({"device": "a GPU", "date": "2026-11-29", "rows": rows}))
    assert "the bound is met on the a GPU of 2026-11-29: softmax 0.96" in kernels.recorded()
    rows[0]["of_copy"] = {"copy": 1.0, "triton": 0.94}
    path.write_text(json.dumps({"device": "a GPU", "date": "2026-11-29", "rows": rows}))
    assert "not met" in kernels.recorded()
    assert "softmax 0.94" in kernels.recorded()
