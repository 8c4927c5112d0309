"""Which ranks a table lets through, and that a kept table decides where nobody said otherwise."""

import json
from pathlib import Path

import numpy as np
import pytest

from mfi_command import BadInput
from svd_compress import compress, latency_table
from svd_compress.allocation import Option, options
from svd_compress.latency import LatencyRow, candidate_ranks, device_name
from svd_compress.latency_table import as_row, default_tokens, keep_rows, kept_rows, only_faster, table
from svd_compress.timing import Interval

SHAPES = [(48, 48), (24, 48), (80, 48), (48, 80)]


def row(rank, verdict, shape=(96, 48), layout="two", device="x"):
    s = Interval(1.5, 1.2, 1.8)
    return LatencyRow(shape, rank, layout, 1, "float32", device, "two calls", 3e-6, 2e-6, s, 2.0, verdict)


def test_only_ranks_that_were_measured_faster_are_offered():
    every = options((96, 48), np.zeros(49), min_saving=0.0)
    rows = [row(8, "faster"), row(16, "leave dense"), row(24, "measurement error"), row(16, "faster", (5, 5))]
    kept = only_faster((96, 48), every, rows)
    assert [(o.rank, o.latency_s) for o in kept] == [(8, 2e-6), (None, 3e-6)]
    assert only_faster((7, 7), [Option(None, 49, 0.0)], rows) == [Option(None, 49, 0.0, None)]


def test_a_table_times_each_shape_once_and_no_kept_one(monkeypatch):
    asked, store = [], {}

    def measure(shape, ranks, tokens, **_):
        asked.append(shape)
        return [row(8, "faster", shape, device=device_name("cpu"))]

    monkeypatch.setattr(latency_table, "measure", measure)
    first = table([(96, 48), (48, 96), (96, 48)], 1, store=store)
    assert asked == [(48, 96), (96, 48)]
    assert table([(96, 48), (48, 96)], 1, store=store) == first
    keep_rows(first)
    assert table([(96, 48), (48, 96)], 1) == first
    assert asked == [(48, 96), (96, 48)]
    # Of another number of tokens, form or device nothing is known.
    table([(96, 48)], 2, store=store)
    table([(96, 48)], 1, layout="pivoted")
    assert len(asked) == 4
    assert {r.shape for r in kept_rows("cpu")} == {(96, 48), (48, 96)}


@pytest.mark.parametrize("verdict", ["faster", "leave dense"])
def test_a_kept_table_decides_unless_told_otherwise(tiny, texts, verdict):
    """Every layer that is emitted is faster than dense, or stays dense, without being asked for it."""
    arguments = {**texts, "keep": 0.9, "layer": "*mlp*", "context": 64, "calibration_tokens": 1024}
    assert default_tokens("cpu") == 0
    assert compress(tiny, **arguments).faster_at == 0
    device = device_name("cpu")
    rows = [
        row(rank, verdict if shape == (80, 48) else "leave dense", shape, "pivoted", device)
        for shape in SHAPES
        for rank in candidate_ranks(shape, multiple=16, layout="pivoted")
    ]
    keep_rows(rows)
    found = compress(tiny, **arguments)
    assert found.faster_at == 1
    assert found.feasible == (verdict == "faster")
    emitted = {layer.shape for layer in found.layers if layer.rank is not None}
    assert emitted == ({(80, 48)} if found.feasible else set())
    assert found.feasible or "measured to be faster" in found.reason
    assert compress(tiny, **arguments, faster_at=0).feasible
    if found.feasible:
        with pytest.raises(BadInput, match=r"fastest ranks give 1\.\d+: ask"):
            compress(tiny, **{**arguments, "keep": None}, speed_up=40.0)


def test_the_table_of_the_h200_leaves_dense_what_is_slower_there():
    """Pivoted 4096x4096 at rank 2,048 and 2,048 tokens, as recorded by benchmarks/latency_cuda.py."""
    path = Path(__file__).parents[1] / "benchmarks" / "results" / "latency_h200.json"
    if not path.is_file():
        pytest.skip("the recorded table is not part of the wheel")
    rows = [
        as_row(item)
        for item in json.loads(path.read_text())["rows"]
        if (item["shape"], item["tokens"], item["layout"]) == ([4096, 4096], 2048, "pivoted")
    ]
    slower = {r.rank for r in rows if r.speed_up.median < 1.0}
    assert 2048 in slower
    every = [Option(r.rank, 0, 0.0) for r in rows] + [Option(None, 0, 0.0)]
    assert slower.isdisjoint(o.rank for o in only_faster((4096, 4096), every, rows))
