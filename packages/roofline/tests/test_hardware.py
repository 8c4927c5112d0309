"""The data-sheet table: sources, ridges, names, and a user's own entries."""

import math
from pathlib import Path

import pytest

from mfi_command import BadInput
from roofline import Device, attainable, device, devices
from roofline.hardware import device_from


def test_every_cell_has_a_source_and_plausible_units() -> None:
    for entry in devices().values():
        cells = {f"peaks.{key}" for key in entry.peaks_flop_per_s} | {"bandwidth", "memory"}
        assert cells <= set(entry.sources), entry.name
        assert all(entry.sources.values()), entry.name
        # Bytes per second, not gigabytes; FLOP per second, not tera.
        assert 1e11 < entry.bandwidth_bytes_per_s < 1e13, entry.name
        assert all(5e12 < peak < 1e16 for peak in entry.peaks_flop_per_s.values()), entry.name
        assert entry.memory_bytes is not None
        assert 8e9 < entry.memory_bytes < 4e11


def test_rates_are_dense() -> None:
    """Within a device a halved width at most doubles the rate; a sparse figure would show as four.

    The consumer cards and Gaudi 3 run some widths at other ratios.
    """
    for entry in devices().values():
        peaks = entry.peaks_flop_per_s
        for wide, narrow in (("tf32", "bf16"), ("bf16", "fp8"), ("fp16", "fp8"), ("fp16", "int8")):
            if (
                wide in peaks
                and narrow in peaks
                and entry.name not in ("RTX-3090", "RTX-4090", "RTX-5090", "Gaudi3")
            ):
                assert peaks[narrow] <= 2.05 * peaks[wide], (entry.name, wide, narrow)


# FLOP a clock of a multiprocessor's matrix units, dense, 16 bits with fp32 sums, over that of its fp32 lanes,
# from the white papers of the architectures: doubled where a figure with sparsity was typed.
MATRIX_OVER_VECTOR = {
    "V100-PCIe-32GB": 1024 / 128, "V100-SXM2-32GB": 1024 / 128, "T4": 1024 / 128,
    "A100-PCIe-40GB": 2048 / 128, "A100-SXM4-40GB": 2048 / 128, "A100-80GB": 2048 / 128,
    "A100-PCIe-80GB": 2048 / 128,
    "A100-SXM4-80GB": 2048 / 128, "A10": 1024 / 256, "A40": 1024 / 256, "L4": 1024 / 256, "L40S": 1024 / 256,
    "H100-PCIe": 4096 / 256, "H100-SXM5-80GB": 4096 / 256, "H100-NVL": 4096 / 256, "H200-SXM": 4096 / 256,
    "B200-SXM": 8192 / 256, "GB200": 8192 / 256, "B300-SXM": 8192 / 256, "RTX-3090": 512 / 256,
    "RTX-4090": 512 / 256, "RTX-5090": 512 / 256,
}  # fmt: skip


@pytest.mark.parametrize("name", MATRIX_OVER_VECTOR)
def test_matrix_rates_are_those_of_the_architecture(name: str) -> None:
    peaks = device(name).peaks_flop_per_s
    # Matrix units may run at a lower clock than the lanes, by up to a fifth.
    share = peaks["fp16"] / peaks["fp32"] / MATRIX_OVER_VECTOR[name]
    assert 0.8 < share < 1.1
    assert peaks.get("bf16", peaks["fp16"]) == peaks["fp16"]


# Published dense rates, typed here from the vendors' headline tables (with sparsity, halved).
@pytest.mark.parametrize(
    ("name", "bf16", "gb_per_s"),
    [
        ("H100", 1979e12 / 2, 3350),
        ("H200", 1979e12 / 2, 4800),
        ("A100-SXM4-80GB", 624e12 / 2, 2039),
        ("L4", 242e12 / 2, 300),
    ],
)
def test_known_data_sheets(name: str, bf16: float, gb_per_s: float) -> None:
    found = device(name)
    assert found.peaks_flop_per_s["bf16"] == pytest.approx(bf16, rel=1e-3)
    assert found.bandwidth_bytes_per_s == gb_per_s * 1e9


def test_a100_ridges() -> None:
    assert device("A100-80GB").ridge_flop_per_byte("bf16") == 156
    assert device("A100-SXM4-80GB").ridge_flop_per_byte("fp16") == pytest.approx(312 / 2.039)


def test_attainable_bends_at_the_ridge() -> None:
    a100 = device("a100 80gb")
    ridge = a100.ridge_flop_per_byte("bf16")
    assert attainable(a100, ridge / 2) == pytest.approx(156e12)
    assert attainable(a100, ridge * 7) == 312e12
    assert attainable(a100, 0) == 0
    for wrong in (-1.0, math.nan):
        with pytest.raises(BadInput, match="intensity"):
            attainable(a100, wrong)


def test_unknown_names_and_rates() -> None:
    with pytest.raises(BadInput, match="A100"):
        device("A1000-80GB")
    with pytest.raises(BadInput, match="no fp8 rate"):
        device("A100").peak_flop_per_s("fp8")
    with pytest.raises(BadInput, match="not known"):
        device("A100").peak_flop_per_s("fp7")


def test_users_table(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        '[[device]]\nname = "mine"\npeaks_flop_per_s = { bfloat16 = 1e14 }\n'
        'bandwidth_bytes_per_s = 1e12\nsource = "a bench"\n'
        '[[device]]\nname = "H100"\npeaks_flop_per_s = { fp16 = 2e14 }\nbandwidth_bytes_per_s = 1e12\n'
    )
    assert device("mine", table=path).ridge_flop_per_byte("bf16") == 100
    assert device("H100", table=path).peaks_flop_per_s == {"fp16": 2e14}
    assert device("A100", table=path).name == "A100-80GB"
    assert "mine" in devices(path)
    with pytest.raises(BadInput, match="holds 2 devices"):
        device(str(path))


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "x"},
        {"name": "x", "peaks_flop_per_s": {"bf16": 1e12}},
        {"name": "x", "peaks_flop_per_s": {"bf16": -1}, "bandwidth_bytes_per_s": 1},
        {"name": "x", "peaks_flop_per_s": {"bf16": math.nan}, "bandwidth_bytes_per_s": 1},
        {"name": "x", "peaks_flop_per_s": {"bf16": 1e30}, "bandwidth_bytes_per_s": 1},
        {"name": "x", "peaks_flop_per_s": {"bf16": 1e12}, "bandwidth_bytes_per_s": True},
        {"name": "x", "peaks_flop_per_s": {"bf16": 1e12}, "bandwidth_bytes_per_s": 1e9, "memory_bytes": -4},
        {"name": "x", "peaks_flop_per_s": {"bf16": 1e12}, "bandwidth_bytes_per_s": 1e9, "sparse": True},
        {"name": "x", "peaks_flop_per_s": {"nine": 1e12}, "bandwidth_bytes_per_s": 1e9},
    ],
)
def test_bad_entries(entry: dict) -> None:
    with pytest.raises(BadInput):
        device_from(entry)


def test_bad_files(tmp_path: Path) -> None:
    for name, text in (("a.toml", "not = [toml"), ("b.json", "{"), ("c.json", "[]"), ("d.json", "3")):
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(BadInput):
            device(str(path))
    with pytest.raises(BadInput, match="no such file"):
        device(str(tmp_path / "none.json"))


def test_a_device_passes_through() -> None:
    own = Device("own", {"bf16": 1e12}, 1e11)
    assert device(own) is own
    assert own.to_dict()["ridge_flop_per_byte"] == {"bf16": 10}
