"""Under what a measurement ran: clocks, temperature, power and load, as far as the system tells."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_GPU_FIELDS = {
    "clocks.sm": "sm_clock_mhz",
    "clocks.mem": "memory_clock_mhz",
    "temperature.gpu": "temperature_c",
    "power.draw": "power_w",
}


def gpu_conditions() -> dict[str, float]:
    """Clocks in MHz, temperature in Celsius and power in watts of the first GPU; empty where not readable."""
    query = f"--query-gpu={','.join(_GPU_FIELDS)}"
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits", "--id=0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return {}
    return _numbers(dict(zip(_GPU_FIELDS.values(), done.stdout.split(","), strict=False)))


def cpu_conditions() -> dict[str, float]:
    """Clock in MHz, temperature in Celsius and the load of the last minute; empty where not readable."""
    found = {"clock_mhz": _cpu_clock_mhz(), "temperature_c": _cpu_temperature_c()}
    if hasattr(os, "getloadavg"):
        found["load_1min"] = str(round(os.getloadavg()[0], 2))
    return _numbers(found)


def _numbers(texts: dict[str, str]) -> dict[str, float]:
    numbers = {}
    for key, text in texts.items():
        try:
            numbers[key] = float(text)
        except ValueError:
            continue
    return numbers


def _cpu_clock_mhz() -> str:
    try:
        current = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq").read_text(encoding="utf-8")
        return str(float(current) / 1e3)
    except (OSError, ValueError):
        pass
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next((line.partition(":")[2] for line in lines if line.startswith("cpu MHz")), "")
    except OSError:
        return ""


def _cpu_temperature_c() -> str:
    for name in Path("/sys/class/hwmon").glob("hwmon*/name"):
        try:
            if name.read_text(encoding="utf-8").strip() in ("coretemp", "k10temp", "zenpower"):
                return str(float((name.parent / "temp1_input").read_text(encoding="utf-8")) / 1e3)
        except (OSError, ValueError):
            continue
    return ""
