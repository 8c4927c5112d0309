"""`collect` on a CPU: rows, going on where it stopped, and refusals."""

import json
from collections import Counter
from pathlib import Path

import pytest

from latency_predictor.collect import collect, micro, passes
from latency_predictor.collect.run import key_of
from latency_predictor.fitting.operators import LEAST_ROWS
from mfi_command import BadInput

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
SMALL = {
    "gemm": {"m": 4, "n": 64, "k": 32},
    "vector": {"name": "rms", "tokens": 4, "width": 64, "cached": False},
}
TINY = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100, "max_position_embeddings": 256,
}  # fmt: skip


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few and small operators, so that a test takes no time."""
    heads = {"heads": 2, "kv_heads": 1, "head_dim": 16}
    entries = [{"kind": kind, **size} for kind, size in SMALL.items()]
    entries += [
        {"kind": "attention", "phase": phase, "batch": 2, "keys": 8, **heads}
        for phase in ("prefill", "decode")
    ]
    entries += [
        {"kind": "vector", "name": name, "tokens": 2, "width": micro.HEAD, "cached": True}
        for name in micro.VECTORS
    ]
    monkeypatch.setattr(micro, "plan", lambda kind, seed=0: list(entries))
    monkeypatch.setattr(micro, "_POOL_BYTES", {"cpu": 4_000_000})


def test_measures_saves_and_goes_on(small: None, tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    first = collect(file, device="cpu", parts=("micro",), seconds=60)
    assert first["failed"] == []
    assert len(first["rows"]) == 4 + len(micro.VECTORS)
    for row in first["rows"]:
        assert 0 < row["low_s"] <= row["latency_s"] <= row["high_s"] < 10
    assert json.loads(file.read_text())["rows"] == first["rows"]
    # Again: nothing is left to do, and no row is measured twice.
    again = collect(file, device="cpu", parts=("micro",), seconds=60)
    assert again["rows"] == first["rows"]
    held = json.loads(file.read_text())
    held["rows"] = held["rows"][:3]
    file.write_text(json.dumps(held))
    third = collect(file, device="cpu", parts=("micro",), seconds=60)
    assert len({key_of(row) for row in third["rows"]}) == len(first["rows"])


def test_whole_passes(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(TINY))
    file = tmp_path / "rows.json"
    found = collect(file, device="cpu", parts=("passes",), models=(str(config),), seconds=60)
    assert found["failed"] == []
    assert {(row["stack"], row["phase"]) for row in found["rows"]} == {
        (stack, phase) for stack in ("loop", "eager") for phase in ("prefill", "decode")
    }


def test_plans_are_the_same_each_time_and_large_enough() -> None:
    entries = micro.plan("cuda")
    assert entries == micro.plan("cuda")
    assert entries != micro.plan("cuda", seed=1)
    assert len({key_of(entry) for entry in entries}) == len(entries) > 500
    wanted = passes.plan("cuda", passes.MODELS["cuda"], passes.STACKS["cuda"])
    assert len({key_of(entry) for entry in wanted}) == len(wanted) > 300
    assert any(entry["model"] == "opt-30b" for entry in wanted)


@pytest.mark.parametrize("kind", ["cuda", "cpu"])
def test_a_whole_plan_is_enough_for_a_fit(kind: str) -> None:
    """`fit` says to measure on where rows are few; a finished `collect` must not meet that."""
    counts = Counter((one["kind"], one.get("phase"), one.get("name")) for one in micro.plan(kind))
    assert {part for part, _, _ in counts} == {*LEAST_ROWS, "sustained"}
    for (part, phase, name), count in counts.items():
        assert count >= LEAST_ROWS.get(part, 2), (part, phase, name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "device"),
        ({"device": "cpu", "stacks": ("magic",)}, "stack"),
        ({"device": "cpu", "parts": ("all",)}, "part"),
        ({"device": "cpu", "dtype": "int3"}, "dtype"),
        ({"device": "cpu", "parts": ("passes",), "models": ("no-such",)}, "no-such"),
    ],
)
def test_refusals_write_nothing(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        collect(tmp_path / "rows.json", **options)
    with pytest.raises(BadInput, match="no directory"):
        collect(tmp_path / "absent" / "rows.json", device="cpu")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": [], "device": "another", "dtype": "fp32"}'])
def test_another_file_is_not_overwritten(tmp_path: Path, text: str) -> None:
    file = tmp_path / "rows.json"
    file.write_text(text)
    with pytest.raises(BadInput, match=r"rows\.json"):
        collect(file, device="cpu")
    assert file.read_text() == text
