"""Rows that cannot be true are dropped, each with its reason; those that can are kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_predictor.lint import floor_s, lint
from roofline import device

DEVICE = device("A100-80GB")


def row(**changed: object) -> dict:
    found = {"model": "opt-13b", "phase": "decode", "batch": 1, "positions": 512, "dtype": "fp16"}
    return {**found, "latency_s": 1.5 * floor_s(found, DEVICE), **changed}


@given(
    model=st.sampled_from(["opt-13b", "llama-3-8b", "smollm2-135m"]),
    phase=st.sampled_from(["prefill", "decode"]),
    batch=st.integers(1, 64),
    positions=st.integers(1, 2048),
    slower=st.floats(1.0, 100.0),
)
def test_what_a_stack_can_take_is_kept(
    model: str, phase: str, batch: int, positions: int, slower: float
) -> None:
    one = row(model=model, phase=phase, batch=batch, positions=positions)
    one["latency_s"] = slower * floor_s(one, DEVICE)
    assert lint([one], DEVICE).dropped == ()


def test_each_fault_is_named() -> None:
    good = row()
    rows = [
        good,
        row(latency_s=0.5 * floor_s(good, DEVICE)),
        row(latency_s=1e3 * good["latency_s"]),
        row(latency_s=good["latency_s"] / 1e3),
        row(requested=128, generated=40),
        row(requested=128, generated=128),
    ]
    found = lint(rows, DEVICE)
    reasons = {one.row: one.reason for one in found.dropped}
    assert set(reasons) == {2, 3, 4, 5}
    assert "physical floor" in reasons[2]
    assert "milliseconds given as seconds" in reasons[3]
    assert "divided by 1000 twice" in reasons[4]
    assert "stopped early, 40 of 128" in reasons[5]
    assert any("row 3 dropped" in sentence for sentence in found.sentences())


def test_repeated_rows_are_the_noise_floor() -> None:
    base = row()["latency_s"]
    rows = [row(latency_s=base * factor) for factor in (1.0, 1.1, 1.02)] + [row(batch=2)]
    found = lint(rows, DEVICE)
    assert len(found.rows) == 2
    assert found.noise == pytest.approx(0.1)
    assert found.rows[0]["latency_s"] == pytest.approx(1.02 * base)
    assert lint([row()], DEVICE).noise is None
    assert np.isfinite(found.noise)
