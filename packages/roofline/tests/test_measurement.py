"""Ceilings of this machine: counted work, spread, and the round trip into a device."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from mfi_command import BadInput
from roofline import Rate, analyze, device, measure
from roofline.cpu_caches import cache_bytes
from roofline.measurement import Measurement


def test_rate_is_amount_over_time() -> None:
    rate = Rate.of(100.0, [1.0, 2.0, 4.0])
    assert rate.median == 50
    assert rate.low < 50 < rate.high
    assert rate.runs == 3


def test_peak_is_a_product_counted_right(ceilings) -> None:
    """A product timed here, apart from the measuring code: a wrong FLOP count is off by a factor of two.

    Both run on a machine that others may use, so only such factors are told from noise.
    """
    n = 1200
    generator = np.random.default_rng(1)
    a, b = (generator.standard_normal((n, n), dtype=np.float32) for _ in range(2))
    rates = []
    for _ in range(8):
        start = time.perf_counter()
        a @ b
        rates.append(2 * n**3 / (time.perf_counter() - start))
    assert 0.3 < ceilings.peaks_flop_per_s["fp32"] / max(rates) < 3.3
    assert ceilings.peaks_flop_per_s["fp64"] < 1.1 * ceilings.peaks_flop_per_s["fp32"]


def test_bandwidth_comes_from_beyond_the_caches(ceilings) -> None:
    largest = ceilings.sweep[-1]
    assert largest["working_set_bytes"] >= max(256 << 20, 4 * max(cache_bytes().values()))
    rates = [value for key, value in largest.items() if key != "working_set_bytes"]
    assert ceilings.bandwidth_bytes_per_s == max(rates)
    assert 1e8 < ceilings.bandwidth_bytes_per_s < 1e13


def test_a_measurement_is_a_device(ceilings, tmp_path: Path) -> None:
    path = tmp_path / "ceilings.json"
    path.write_text(json.dumps(ceilings.to_dict()))
    read = device(str(path))
    assert read.peaks_flop_per_s == ceilings.peaks_flop_per_s
    assert read.ridge_flop_per_byte("fp32") == ceilings.to_dict()["ridge_flop_per_byte"]["fp32"]
    found = analyze("smollm2-135m", device=str(path), dtype="fp32", phase="decode", sequence=128)
    assert found.total_time_s > found.bytes / ceilings.bandwidth_bytes_per_s * 0.99


def test_levels_and_vector_units_are_there(ceilings) -> None:
    assert set(ceilings.levels) <= set(ceilings.cache_bytes) == set(cache_bytes())
    for dtype, rate in ceilings.vector_peaks.items():
        # A product runs on the same units here; interruptions on both sides, as above.
        assert 0.3 < rate.median / ceilings.peaks_flop_per_s[dtype] < 10
    assert {"before", "after"} == set(ceilings.conditions)
    assert ceilings.versions["streams"]


def measured(peak: float, sustained: float, spread: float = 1.0) -> Measurement:
    rate = Rate(peak, peak / spread, peak * spread, 9)
    memory = Rate(1e12, 1e12, 1e12, 9)
    return Measurement(
        "chip",
        {"bf16": rate},
        {"bf16": {"a": rate}},
        memory,
        "read",
        (),
        None,
        {},
        sustained={"bf16": Rate(sustained, sustained, sustained, 9)},
        levels={"l2": 5e12},
        launch_s={"graph": 1e-6, "eager": 5e-6},
        cache_bytes={"l2": 60 << 20},
    )


def test_notes_point_at_noise_and_at_lowered_clocks() -> None:
    assert measured(1e14, 0.99e14).notes == []
    (throttled,) = measured(1e14, 0.8e14).notes
    assert "80%" in throttled
    (noisy,) = measured(1e14, 1e14, spread=1.5).notes
    assert "differ" in noisy


def test_levels_and_launches_reach_the_device(tmp_path: Path) -> None:
    path = tmp_path / "gpu.json"
    path.write_text(json.dumps(measured(1e14, 1e14).to_dict()))
    read = device(str(path))
    assert read.levels_bytes_per_s == {"l2": 5e12}
    assert read.launch_s == 1e-6
    assert read.l2_bytes == 60 << 20


def test_bad_arguments() -> None:
    with pytest.raises(BadInput, match="seconds"):
        measure(seconds=float("nan"))
    with pytest.raises(BadInput, match="expected cpu or cuda"):
        measure(device="tpu")


def test_cuda_without_a_device_says_so() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(BadInput, match="no CUDA device"):
        measure(device="cuda")
