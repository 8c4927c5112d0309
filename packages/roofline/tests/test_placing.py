"""Which ceiling binds: compute, memory, L2, launch."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline import Device, place
from roofline import operators as op
from roofline.placing import l2_bytes

PLAIN = Device("plain", {"bf16": 1e15, "fp32": 5e13}, 4e12)
MEASURED = replace(PLAIN, levels_bytes_per_s={"l2": 8e12}, launch_s=2e-6)


@given(m=st.integers(1, 10**5), n=st.integers(1, 10**5), k=st.integers(1, 10**5))
def test_the_longest_time_binds(m: int, n: int, k: int) -> None:
    placed = place(op.matmul("gemm", m, n, k, dtype="bf16"), MEASURED, dtype="bf16")
    assert placed.time_s == max(placed.times_s.values()) == placed.times_s[placed.bound]
    assert set(placed.times_s) == {"compute", "memory", "l2", "launch"}
    assert placed.times_s["compute"] == pytest.approx(2 * m * n * k / 1e15)


def test_each_ceiling_can_bind() -> None:
    square = op.matmul("square", 8192, 8192, 8192, dtype="bf16")
    assert place(square, MEASURED, dtype="bf16").bound == "compute"
    assert place(op.matmul("row", 1, 8192, 8192, dtype="bf16"), MEASURED, dtype="bf16").bound == "memory"
    assert place(op.matmul("tiny", 1, 64, 64, dtype="bf16"), MEASURED, dtype="bf16").bound == "launch"
    slow = replace(MEASURED, levels_bytes_per_s={"l2": 4.1e12})
    assert place(square, slow, dtype="bf16").bound == "l2"


def test_launches_are_counted_per_run() -> None:
    many = op.matmul("tiny", 1, 64, 64, dtype="bf16").repeated(10)
    assert place(many, MEASURED, dtype="bf16").time_s == pytest.approx(2e-5)


def test_a_product_rereads_its_operands_once_a_tile() -> None:
    one = op.matmul("gemm", 8192, 8192, 8192, dtype="bf16")
    # 32 tiles of 256 either way: each operand is read 32 times, the result written once.
    assert l2_bytes(one) == 2 * (2 * 32 * 8192**2 + 8192**2)
    assert l2_bytes(one.repeated(3)) == 3 * l2_bytes(one)
    small = op.matmul("small", 64, 64, 64, dtype="bf16")
    assert l2_bytes(small) == small.bytes
    norm = op.norm("norm", 100, 64, form="rms", dtype="bf16")
    assert l2_bytes(norm) == norm.bytes


def test_attention_rereads_keys_and_values_once_a_tile_of_queries() -> None:
    one = op.attention("prefill", 2, 1024, 1024, 8, 8, 64, dtype="bf16", causal=False)
    # Eight tiles of 128 queries read every key and value.
    assert l2_bytes(one) == 2 * (2 * 2 * 1024 * 8 * 64 + 8 * 2 * 2 * 1024 * 8 * 64)
    step = op.attention("decode", 2, 1, 1024, 8, 2, 64, dtype="bf16")
    assert l2_bytes(step) == step.bytes


def test_without_figures_there_are_two_ceilings() -> None:
    placed = place(op.norm("norm", 100, 64, form="rms", dtype="bf16"), PLAIN, dtype="bf16")
    assert set(placed.times_s) == {"compute", "memory"}
    assert placed.peak_flop_per_s == 5e13
