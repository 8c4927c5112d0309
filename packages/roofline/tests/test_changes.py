"""Changes and what they gain, by hand where a hand can count."""

import doctest
from dataclasses import replace

import pytest

import roofline.changes as module
from mfi_command import BadInput
from roofline import analyze, batch_sweep, device, what_if
from roofline import operators as op
from roofline.changes import bound_shares, fuse


def test_twice_the_bandwidth_halves_what_memory_binds() -> None:
    before, (gain,) = what_if("llama-3-8b", ["bandwidth=2"], device="H100", phase="decode")
    assert gain.speed_up == pytest.approx(2)
    assert gain.analysis.device.bandwidth_bytes_per_s == 2 * before.device.bandwidth_bytes_per_s
    _, (none,) = what_if("llama-3-8b", ["peak=2"], device="H100", phase="decode")
    assert none.speed_up == pytest.approx(1)


def test_formats_change_bytes_and_peaks() -> None:
    before, (weights, arithmetic, both) = what_if(
        "llama-3-8b", ["weights=int4", "dtype=fp8"], device="H100", phase="prefill", batch=4
    )
    assert weights.analysis.weight_bytes < before.weight_bytes
    assert weights.speed_up == pytest.approx(1, rel=0.01)
    assert arithmetic.speed_up > 1.6
    assert both.change == "weights=int4 and dtype=fp8"


def test_a_batch_gains_per_sequence() -> None:
    _, (gain,) = what_if("llama-3-8b", ["batch=16"], device="H100", phase="decode", sequence=128)
    assert gain.speed_up < 1
    assert gain.per_sequence_speed_up > 10


def test_fusion_saves_what_is_handed_over() -> None:
    tokens, wide = 2 * 300, 14336
    before, (gain,) = what_if(
        "llama-3-8b", ["fuse=gate_proj+up_proj+activation"], device="H100", batch=2, sequence=300
    )
    assert before.bytes - gain.analysis.bytes == 32 * 2 * (2 * tokens * wide * 2)
    assert gain.analysis.flop == before.flop
    names = [placed.operator.name for placed in gain.analysis.operators]
    assert "gate_proj+up_proj+activation" in names
    assert "gate_proj" not in names


def test_fused_element_wise_steps_by_hand() -> None:
    silu = op.activation("silu", 1000, form="silu", gated=False, dtype="bf16")
    product = op.vector("product", 1000, flop_per_element=1, dtype="bf16", inputs=2)
    one = fuse([silu, product], dtype="bf16")
    assert one.bytes == 3 * 2000
    assert one.unfused_bytes == 5 * 2000
    assert one.flop == 5 * 1000


def test_the_ridge_batch_is_the_first_without_a_starved_product() -> None:
    points, ridge = batch_sweep("llama-3-8b", device="A100-80GB", phase="decode", sequence=64)
    assert ridge is not None
    starved = [
        any(
            p.bound == "memory" and p.operator.kind == "matmul"
            for p in analyze(
                "llama-3-8b", device="A100-80GB", phase="decode", sequence=64, batch=batch
            ).operators
        )
        for batch in (ridge - 1, ridge)
    ]
    assert starved == [True, False]
    assert [point.batch for point in points] == [1 << step for step in range(len(points))]


def test_no_ridge_within_reach_is_said() -> None:
    points, ridge = batch_sweep("llama-3-8b", device="H100", phase="decode", largest=8)
    assert ridge is None
    assert len(points) == 4


def test_shares_add_up_to_one() -> None:
    assert sum(bound_shares(analyze("gpt2", device="H100", batch=64)).values()) == pytest.approx(1)


def test_launches() -> None:
    measured = replace(device("H100"), launch_s=1e-5)
    _, (gain,) = what_if("gpt2", ["launch=0.5"], device=measured, phase="decode")
    assert 1.5 < gain.speed_up <= 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([], "no change"),
        (["speed=2"], "speed=2"),
        (["bandwidth"], "bandwidth"),
        (["bandwidth=fast"], "factor"),
        (["bandwidth=nan"], "factor"),
        (["bandwidth=-1"], "factor"),
        (["bandwidth=1e99"], "factor"),
        (["batch=2.5"], "batch"),
        (["launch=2"], "launch"),
        (["fuse=q_proj"], "fuse"),
        (["fuse=q_proj+nothing"], "nothing"),
        (["fuse=lm_head+norm"], "equally often"),
        (["fuse=gate_proj+kv_write"], "does not read"),
        (["weights=int3"], "int3"),
    ],
)
def test_unusable_changes(changes: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        what_if("llama-3-8b", changes, device="H100")


def test_docstrings_run() -> None:
    assert doctest.testmod(module).failed == 0
