"""What a system tells of clocks and temperature, and silence where it does not."""

import subprocess

import pytest

from roofline import conditions


def test_a_gpu_without_a_driver_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert conditions.gpu_conditions() == {}


def test_what_nvidia_smi_prints_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess([], 0, stdout="1980, 3201, 37, [N/A]\n")
    monkeypatch.setattr(conditions.subprocess, "run", lambda *_, **__: done)
    assert conditions.gpu_conditions() == {
        "sm_clock_mhz": 1980.0,
        "memory_clock_mhz": 3201.0,
        "temperature_c": 37.0,
    }


def test_a_cpu_tells_numbers_or_nothing() -> None:
    assert all(isinstance(value, float) for value in conditions.cpu_conditions().values())
