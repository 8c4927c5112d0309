"""This machine's own ceilings, measured: FLOP/s of matrix products and bytes/s of memory."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mfi_command import BadInput
from roofline.hardware import Device

_THROTTLED = 0.95  # less than this share of the rested rate is more than noise


@dataclass(frozen=True)
class Rate:
    """A rate measured several times, per second: the median with the spread around it."""

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, amount: float, seconds: list[float]) -> Rate:
        """Rate of `amount` done in each of `seconds`: the median, and the 10 % and 90 % quantiles."""
        import numpy as np  # not at the top: `import roofline` stays light, and `--help` quick

        low, median, high = np.quantile(amount / np.asarray(seconds), (0.1, 0.5, 0.9))
        return cls(float(median), float(low), float(high), len(seconds))

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"median": self.median, "low": self.low, "high": self.high, "runs": self.runs}


@dataclass(frozen=True)
class Measurement:
    """Ceilings of one device as measured in one run.

    Attributes
    ----------
    peaks
        dtype -> FLOP/s of the best library's matrix product.
    libraries
        dtype -> library -> FLOP/s: every library found, in rounds that alternate between them.
    bandwidth
        Bytes/s beyond the caches: the best kernel at the largest working set.
    sweep
        One row a working set: `working_set_bytes` and the rate of each kernel; caches show as plateaus.
    versions
        Of whatever took part, and the number of threads.
    streams
        Kernel -> bytes/s at the largest working set.
    levels
        Bytes/s within each level on the way to memory, `l1 l2 llc`, as far as the sweep shows them.
    sustained
        dtype -> FLOP/s of products without a pause, where `peaks` were reached by a chip that had rested.
    transfers
        Bytes/s between host and device, `host_to_device device_to_host`.
    vector_peaks
        dtype -> FLOP/s of chained multiply-adds on the vector units, where they are not the matrix units.
    launch_s
        Least seconds of a kernel: `graph` (replayed), `eager` (called one by one).
    cache_bytes
        Capacity of each level.
    conditions
        Clocks, temperature, power, load, before and after.
    """

    device: str
    peaks: Mapping[str, Rate]
    libraries: Mapping[str, Mapping[str, Rate]]
    bandwidth: Rate
    bandwidth_kernel: str
    sweep: tuple[Mapping[str, float], ...]
    memory_bytes: int | None
    versions: Mapping[str, str]
    streams: Mapping[str, Rate] = field(default_factory=dict)
    levels: Mapping[str, float] = field(default_factory=dict)
    sustained: Mapping[str, Rate] = field(default_factory=dict)
    transfers: Mapping[str, Rate] = field(default_factory=dict)
    vector_peaks: Mapping[str, Rate] = field(default_factory=dict)
    launch_s: Mapping[str, float] = field(default_factory=dict)
    cache_bytes: Mapping[str, int] = field(default_factory=dict)
    conditions: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def peaks_flop_per_s(self) -> dict[str, float]:
        """Median peak per dtype, FLOP/s."""
        return {dtype: rate.median for dtype, rate in self.peaks.items()}

    @property
    def bandwidth_bytes_per_s(self) -> float:
        """Median bandwidth, bytes/s."""
        return self.bandwidth.median

    @property
    def notes(self) -> list[str]:
        """What makes the figures doubtful: a spread that an idle machine does not show."""
        rates = {**self.peaks, "memory": self.bandwidth}
        wide = [name for name, rate in rates.items() if rate.high > 1.2 * rate.low]
        found = []
        if wide:
            found.append(f"{', '.join(wide)}: runs differ by over 20 %, other work may share this machine")
        for dtype, rate in self.sustained.items():
            share = rate.median / self.peaks[dtype].median
            if share < _THROTTLED:
                found.append(f"{dtype}: without pauses {share:.0%} of the peak, the chip lowers its clocks")
        return found

    def to_device(self) -> Device:
        """The measured ceilings in the form that `analyze` takes."""
        source = f"measured, {', '.join(f'{k} {v}' for k, v in self.versions.items())}"
        cells = [*(f"peaks.{dtype}" for dtype in self.peaks), "bandwidth"]
        return Device(
            name=self.device,
            peaks_flop_per_s=self.peaks_flop_per_s,
            bandwidth_bytes_per_s=self.bandwidth_bytes_per_s,
            memory_bytes=self.memory_bytes,
            l2_bytes=self.cache_bytes.get("l2"),
            levels_bytes_per_s=dict(self.levels),
            launch_s=self.launch_s.get("graph"),
            sources=dict.fromkeys(cells, source),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data; a file with it is a device for `analyze`."""
        measured = self.to_device()
        return {
            "device": self.device,
            "peaks_flop_per_s": self.peaks_flop_per_s,
            "bandwidth_bytes_per_s": self.bandwidth_bytes_per_s,
            "ridge_flop_per_byte": {key: measured.ridge_flop_per_byte(key) for key in self.peaks},
            "memory_bytes": self.memory_bytes,
            "spread": {
                "peaks_flop_per_s": {key: rate.to_dict() for key, rate in self.peaks.items()},
                "bandwidth_bytes_per_s": self.bandwidth.to_dict(),
            },
            "libraries": {
                dtype: {name: rate.to_dict() for name, rate in rates.items()}
                for dtype, rates in self.libraries.items()
            },
            "bandwidth_kernel": self.bandwidth_kernel,
            "notes": self.notes,
            "sweep": [dict(row) for row in self.sweep],
            "streams_bytes_per_s": {key: rate.to_dict() for key, rate in self.streams.items()},
            "levels_bytes_per_s": dict(self.levels),
            "cache_bytes": dict(self.cache_bytes),
            "l2_bytes": self.cache_bytes.get("l2"),
            "sustained_flop_per_s": {key: rate.to_dict() for key, rate in self.sustained.items()},
            "transfers_bytes_per_s": {key: rate.to_dict() for key, rate in self.transfers.items()},
            "vector_peaks_flop_per_s": {key: rate.to_dict() for key, rate in self.vector_peaks.items()},
            "launch_s": self.launch_s.get("graph"),
            "launches_s": dict(self.launch_s),
            "conditions": {key: dict(values) for key, values in self.conditions.items()},
            "versions": dict(self.versions),
        }


def best(rates: Mapping[str, Rate]) -> tuple[str, Rate]:
    """The name and rate with the highest median."""
    return max(rates.items(), key=lambda item: item[1].median)


def measure(
    *,
    device: str = "cpu",
    seconds: float = 6.0,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Measurement:
    """Measure this machine's peaks and bandwidth.

    Parameters
    ----------
    device
        "cpu" (numpy, and the products of SciPy and torch beside it where they are installed) or "cuda"
        (torch).
    seconds
        About how long to take; more narrows the spread. Between 0.5 and 600.
    seed
        Of the data, which is random: constant data lets a chip clock higher than real work does.

    Returns
    -------
    Measurement
        Medians with the 10 % and 90 % quantiles of repeated runs.

    Raises
    ------
    BadInput
        No CUDA device, torch missing for "cuda", or `seconds` out of range.

    Notes
    -----
    A matrix product of n x n is 2n^3 FLOP. Bandwidth counts the bytes named by the kernel: copy 2, read 1,
    add-in-place 3 per element; a cache that fetches a line before overwriting it makes "copy" move half as
    much again, so the highest kernel is the ceiling.
    """
    if not 0.5 <= seconds <= 600:
        raise BadInput(f"seconds is {seconds}, expected between 0.5 and 600")
    tick = on_progress or (lambda done, total: None)
    if device == "cpu":
        from roofline.measurement_cpu import measure_cpu

        return measure_cpu(seconds=seconds, seed=seed, tick=tick)
    if device == "cuda":
        from roofline.measurement_cuda import measure_cuda

        return measure_cuda(seconds=seconds, seed=seed, tick=tick)
    raise BadInput(f"device is {device!r}, expected cpu or cuda")


def machine_name() -> str:
    """The processor's name as the system gives it."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return f"{names[0] if names else platform.processor() or platform.machine()} ({os.cpu_count()} CPUs)"
