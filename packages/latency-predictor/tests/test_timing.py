"""The formulas: limits they must have, and monotonicity."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_predictor.timing import (
    Decode,
    Exchange,
    Gemm,
    Hardware,
    Prefill,
    Vector,
    decode_s,
    exchange_s,
    gemm_s,
    prefill_s,
    smooth_max,
    vector_s,
)

ON = Hardware(1e14, 1e12, 100, 1 << 20)
PLAIN = Gemm(compute=1, smaller_tile=1, bandwidth=1, sharpness=50, launch_s=0, ramp=0)


@given(a=st.floats(0, 1e9), b=st.floats(0, 1e9), p=st.floats(1, 20))
def test_smooth_max_lies_between_maximum_and_sum(a: float, b: float, p: float) -> None:
    found = smooth_max(a, b, p)
    assert max(a, b) * (1 - 1e-12) <= found <= (a + b) * (1 + 1e-12)


def test_whole_waves_by_hand() -> None:
    """2560 x 1280 in tiles of 128 x 128 is 200 tiles: two full waves of 100, so nothing is lost. One row more
    makes 170 tiles of 160 x 128, two waves that do a quarter more than is needed.
    """
    k = 1000  # too short to be split
    ideal = 2 * 2560 * 1280 * k / 1e14
    assert gemm_s(2560, 1280, k, 0, PLAIN, ON) == pytest.approx(ideal)
    lossy = Gemm(1, 0.01, 1, 50, 0, 0)  # small tiles priced out
    assert gemm_s(2561, 1280, k, 0, lossy, ON) == pytest.approx(1.25 * ideal, rel=0.02)


def test_few_tiles_of_a_long_product_are_split() -> None:
    """1280 x 640 in tiles of 128 x 128 is 50 on 100 units: two blocks a tile use all, for one launch."""
    m, n, k, launch = 1280, 640, 4096, 1e-6
    lossy = Gemm(1, 0.01, 1, 50, launch, 0)
    ideal = 2 * m * n * k / 1e14
    assert gemm_s(m, n, k, 0, lossy, ON) == pytest.approx(ideal + 2 * launch)
    short = 2 * m * n * 1000 / 1e14
    assert gemm_s(m, n, 1000, 0, lossy, ON) == pytest.approx(2 * short + launch)


def test_memory_limit_by_hand() -> None:
    assert gemm_s(1, 4096, 4096, 10**10, PLAIN, ON) == pytest.approx(0.01)
    assert vector_s(10**9, Vector(0.5, 1, 1e-6), ON) == pytest.approx(2e-3 + 1e-6)
    # What fits half of the L2 of a mebibyte comes from it, here at four times the rate.
    assert vector_s(2**19, Vector(0.5, 4, 0), ON) == pytest.approx(2**19 / 2e12)
    fit = Decode(bandwidth=0.5, sharpness=20, launch_s=1e-6, idle_exponent=1, tail=0.5, head_s=0)
    full = decode_s(100, 256, 8, 10**9, fit, ON)  # 800 pairs on 200 places: four whole rounds
    assert full == pytest.approx(2e-3 + 1e-6)
    assert decode_s(101, 256, 8, 10**9, fit, ON) == pytest.approx(2e-3 * 4.5 / 4.04 + 1e-6)
    # With over one block a unit the last round takes as long as any.
    assert decode_s(116, 256, 8, 10**9, fit, ON) == pytest.approx(2e-3 * 5 / 4.64 + 1e-6)
    assert decode_s(1, 256, 50, 10**9, fit, ON) == pytest.approx(4e-3 + 1e-6)  # 50 blocks on 100 units


@given(m=st.integers(1, 5000), n=st.integers(1, 5000), k=st.integers(1, 5000))
def test_never_faster_than_the_data_sheet(m: int, n: int, k: int) -> None:
    moved = 2 * (m * k + k * n + m * n)
    floor = max(2 * m * n * k / 1e14, moved / 1e12)
    assert float(gemm_s(m, n, k, moved, PLAIN, ON)) >= floor * (1 - 1e-9)
    assert math.isfinite(gemm_s(m, n, k, moved, PLAIN, Hardware(1e14, 1e12, 0, 0)))


def test_attention_fills_whole_waves() -> None:
    """100 blocks of queries fill 100 units once; 101 take two rounds."""
    fit = Prefill(compute=1, bandwidth=1, sharpness=50, launch_s=0, ramp=0)
    full = float(prefill_s(100, 128, 1, 1e12, 0, fit, ON))
    assert full == pytest.approx(0.01)
    assert float(prefill_s(101, 128, 1, 1.01e12, 0, fit, ON)) == pytest.approx(0.02, rel=0.01)


def test_all_reduce_is_alpha_and_beta() -> None:
    fit = Exchange(latency_s=1e-5, bandwidth_bytes_per_s=1e11)
    assert float(exchange_s(0, 4, fit)) == pytest.approx(1e-5)
    # Each of four devices sends three quarters twice.
    assert float(exchange_s(1e9, 4, fit)) == pytest.approx(1e-5 + 1.5e-2)
