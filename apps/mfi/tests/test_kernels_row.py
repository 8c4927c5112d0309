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
