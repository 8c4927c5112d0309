"""FLOP and bytes of single operators against hand counts and against brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline import operators as op

# Ten operators counted by hand: elements by name, times bytes of each. (operator, FLOP, bytes)
BY_HAND = [
    # GEMM 1024 x 4096 @ 4096 x 11008, fp16: 2mnk; (mk + kn + mn) * 2
    (op.matmul("gemm", 1024, 11008, 4096, dtype="fp16"), 92341796864, (4194304 + 45088768 + 11272192) * 2),
    # GEMV with a bias, fp16: one row; the bias adds n FLOP and n elements
    (
        op.matmul("gemv", 1, 4096, 4096, dtype="fp16", bias=True),
        33554432 + 4096,
        (4096 + 16777216 + 4096 + 4096) * 2,
    ),
    # GEMM with 4-bit weights: half a byte an element of the weights, two of the rest
    (op.matmul("w4", 8, 4096, 4096, dtype="bf16", weight_dtype="int4"), 268435456, 65536 + 8388608 + 65536),
    # softmax of 4096 x 4096 in fp32: read and write
    (op.softmax("softmax", 4096, 4096, dtype="fp32"), 5 * 16777216, 2 * 4 * 16777216),
    # LayerNorm of 2048 x 4096 in fp16: read, write, weight and bias
    (op.norm("ln", 2048, 4096, form="layer", dtype="fp16"), 7 * 8388608, 2 * (2 * 8388608 + 2 * 4096)),
    # RMSNorm: no bias
    (op.norm("rms", 2048, 4096, form="rms", dtype="bf16"), 4 * 8388608, 2 * (2 * 8388608 + 4096)),
    # SwiGLU of 512 x 11008: two inputs, one output
    (op.activation("swiglu", 5636096, form="silu", gated=True, dtype="bf16"), 5 * 5636096, 3 * 2 * 5636096),
    # embedding of 64 tokens, width 4096: an 8-byte index each, the row in, the row out
    (op.gather("emb", 64, 4096, dtype="fp16"), 0, 64 * 8 + 2 * 2 * 262144),
    # prefill attention, batch 2, 1024 tokens, 32 heads of 128, 8 kv heads, bf16: 524800 causal pairs
    (
        op.attention("prefill", 2, 1024, 1024, 32, 8, 128, dtype="bf16"),
        4 * 2 * 32 * 128 * 524800,
        2 * 2 * (2 * 1024 * 32 * 128) + 2 * 2 * (2 * 1024 * 8 * 128),
    ),
    # decode attention, batch 4, cache of 2000 in 8 bits: every cached key and value once a kv head
    (
        op.attention("decode", 4, 1, 2000, 32, 8, 128, dtype="bf16", kv_dtype="fp8"),
        4 * 4 * 32 * 128 * 2000,
        2 * 2 * (4 * 32 * 128) + 2 * 1 * (4 * 2000 * 8 * 128),
    ),
]


@pytest.mark.parametrize(("operator", "flop", "moved"), BY_HAND, ids=lambda value: getattr(value, "name", ""))
def test_hand_counts(operator: op.Operator, flop: int, moved: int) -> None:
    assert operator.flop == flop
    assert operator.bytes == moved


@given(keys=st.integers(1, 60), ahead=st.integers(0, 59), window=st.one_of(st.none(), st.integers(1, 70)))
def test_causal_pairs_by_counting(keys: int, ahead: int, window: int | None) -> None:
    queries = max(1, keys - ahead)
    position = np.arange(keys - queries, keys)[:, None]
    seen = np.arange(keys)[None, :] <= position
    if window is not None:
        seen &= np.arange(keys)[None, :] > position - window
    assert op.causal_pairs(queries, keys, window) == seen.sum()


def test_numbers_stay_whole_when_huge() -> None:
    huge = op.matmul("gemm", 10**12, 10**9, 10**9, dtype="fp16")
    assert huge.flop == 2 * 10**30
    assert huge.intensity_flop_per_byte > 0


def test_odd_int4_rounds_up() -> None:
    assert op.matmul("w", 1, 3, 1, dtype="int8", weight_dtype="int4").bytes == 1 + 2 + 3
