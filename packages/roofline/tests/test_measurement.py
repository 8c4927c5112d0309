"""Ceilings of this machine: counted work, spread, and the round trip into a device."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from mfi_command import BadInput
from roofline import Rate, analyze, device, measure
from roofline.measurement_cpu import working_sets


@pytest.fixture(scope="module")
def ceilings():
    return measure(seconds=1.0)


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
    assert ceilings.sweep[-1]["working_set_bytes"] == working_sets()[-1] >= 256 << 20
    largest = ceilings.sweep[-1]
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
