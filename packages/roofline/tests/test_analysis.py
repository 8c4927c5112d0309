"""The whole pass: totals, bounds, cache, dtypes, and unusable arguments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from roofline import Device, analyze, read_config


def test_decode_floor_of_opt_30b_by_hand() -> None:
    """The weights of a decode step are read once: 29.97e9 - embeddings, two bytes each, over 2039 GB/s."""
    found = analyze("opt-30b", device="A100-SXM4-80GB", phase="decode", sequence=1, dtype="fp16")
    read = 2 * (
        found.parameters - 2050 * 7168
    )  # the position table is not read; the tied embedding is, as head
    assert found.total_time_s == pytest.approx(read / 2039e9, rel=2e-3)
    assert {placed.bound for placed in found.operators} == {"memory"}


def test_totals_are_sums_and_times_are_the_larger_of_two() -> None:
    found = analyze("llama-3-8b", device="H100", batch=4, sequence=512)
    data = found.to_dict()
    assert data["total_time_s"] == pytest.approx(sum(row["time_s"] for row in data["operators"]))
    for row in data["operators"]:
        peak = 989e12 if row["kind"] in ("matmul", "attention") else 67e12
        compute, memory = row["flop"] / peak, row["bytes"] / 3350e9
        assert row["time_s"] == pytest.approx(max(compute, memory))
        assert row["bound"] == ("compute" if compute >= memory else "memory")


def test_decode_after_prefill_covers_the_cache() -> None:
    prefill = analyze("llama-3-8b", device="H100", batch=3, sequence=100)
    assert prefill.kv_cache_bytes == 2 * 32 * 3 * 100 * 8 * 128 * 2
    written = next(placed.operator for placed in prefill.operators if placed.operator.name == "kv_write")
    assert written.bytes == 2 * prefill.kv_cache_bytes  # read as activations, written to the cache


def test_prefill_of_one_token_is_a_decode_step_of_one() -> None:
    one = analyze("opt-125m", device="A100", batch=5, sequence=1)
    step = analyze("opt-125m", device="A100", batch=5, sequence=1, phase="decode")
    assert one.operators == step.operators


@given(batch=st.integers(1, 64), sequence=st.integers(1, 5000), phase=st.sampled_from(["prefill", "decode"]))
def test_fusing_projections_moves_less_and_computes_the_same(batch: int, sequence: int, phase: str) -> None:
    options = {"device": "H100", "batch": batch, "sequence": sequence, "phase": phase}
    apart = analyze("llama-3-8b", **options)
    together = analyze("llama-3-8b", fused=True, **options)
    assert together.flop == apart.flop
    assert together.bytes < apart.bytes
    assert together.weight_bytes == apart.weight_bytes


def test_quantization_changes_bytes_not_flop() -> None:
    plain = analyze("llama-3-8b", device="A100", phase="decode")
    small = analyze("llama-3-8b", device="A100", phase="decode", weight_dtype="int4", kv_dtype="fp8")
    assert small.flop == plain.flop
    assert small.kv_cache_bytes * 2 == plain.kv_cache_bytes
    layers = plain.weight_bytes - 2 * (2 * 128256 * 4096 + 65 * 4096)
    assert plain.weight_bytes - small.weight_bytes == layers * 3 // 4


def test_a_window_caps_cache_and_work() -> None:
    config = read_config("mistral-7b")
    wide = {**config, "sliding_window": None}
    for phase in ("prefill", "decode"):
        near = analyze(config, device="H100", sequence=8192, phase=phase)
        far = analyze(wide, device="H100", sequence=8192, phase=phase)
        assert near.kv_cache_bytes * 2 == far.kv_cache_bytes
        assert near.flop < far.flop


def test_notes_say_what_does_not_fit() -> None:
    found = analyze("opt-66b", device="A100", sequence=4096)
    assert found.fits is False
    assert any("GB" in note for note in found.notes)
    assert any("beyond the model's 2048" in note for note in found.notes)
    assert analyze("opt-66b", device=Device("bare", {"bf16": 1e14}, 1e12)).fits is None
    shaky = analyze("gpt2", device="H100-NVL", dtype="fp32").notes
    assert any("peaks.fp32 in the table has no second source" in note for note in shaky)
    assert not any("second source" in note for note in analyze("gpt2", device="H100-NVL").notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "batch"),
        ({"batch": -3}, "batch"),
        ({"batch": True}, "batch"),
        ({"sequence": 10**30}, "sequence"),
        ({"phase": "both"}, "phase"),
        ({"dtype": "fp9"}, "dtype"),
        ({"dtype": "fp8"}, "no fp8 rate"),
        ({"logits": "none"}, "logits"),
        ({"device": "nothing"}, "nothing"),
    ],
)
def test_bad_arguments(options: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        analyze("gpt2", **{"device": "A100", **options})


def test_the_largest_sizes_stay_finite() -> None:
    found = analyze("opt-66b", device="A100", batch=10**12, sequence=10**12)
    assert 0 < found.total_time_s < float("inf")
