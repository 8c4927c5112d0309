"""Caches as Linux lists them, and the plateaus that belong to them."""

from pathlib import Path

import pytest

from roofline import cpu_caches
from roofline.cpu_caches import cache_bytes, plateaus


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two CPUs: 32K L1 of their own beside instructions, 512K L2 of their own, 8192K L3 in common."""
    monkeypatch.setattr(cpu_caches, "usable_cpus", lambda: 2)
    for cpu in range(2):
        listed = [("1", "Data", "32K", str(cpu)), ("1", "Instruction", "32K", str(cpu))]
        listed += [("2", "Unified", "512K", str(cpu)), ("3", "Unified", "8192K", "0-1")]
        for number, values in enumerate(listed):
            folder = tmp_path / f"cpu{cpu}" / "cache" / f"index{number}"
            folder.mkdir(parents=True)
            for key, value in zip(("level", "type", "size", "shared_cpu_list"), values, strict=True):
                (folder / key).write_text(f"{value}\n")
    return tmp_path


def test_caches_are_added_over_cpus_and_shared_ones_counted_once(system: Path) -> None:
    assert cache_bytes(system) == {"l1": 64 << 10, "l2": 1 << 20, "llc": 8 << 20}


def test_without_a_list_there_is_an_assumption(tmp_path: Path) -> None:
    found = cache_bytes(tmp_path)
    assert found["llc"] == 32 << 20
    assert found["l1"] > 0


def test_plateaus_are_medians_well_within_a_level() -> None:
    caches = {"l1": 64, "l2": 1024, "llc": 8192}
    rates = {
        32: 100.0,
        64: 90.0,
        128: 50.0,
        256: 40.0,
        512: 45.0,
        1024: 30.0,
        2048: 20.0,
        8192: 9.0,
        1 << 15: 5.0,
    }
    rows = [{"working_set_bytes": float(size), "read_bytes_per_s": rate} for size, rate in rates.items()]
    assert plateaus(rows, caches) == {"l1": 100, "l2": 45, "llc": 20}
    assert plateaus(rows[:1], caches) == {"l1": 100}
