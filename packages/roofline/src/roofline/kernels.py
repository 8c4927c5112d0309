"""Kernels from anywhere on the roofline: a table, a profiler's export, or a traced torch function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfi_command import BadInput
from roofline.dispatch import trace
from roofline.dtypes import dtype_name
from roofline.hardware import Device
from roofline.hardware import device as find_device
from roofline.operators import Operator
from roofline.placing import Placed, place
from roofline.sparse import sparse_looking

# A measurement this far over the roof is not noise: bytes or FLOP were counted that did not happen.
_OVER = 1.05


@dataclass(frozen=True)
class Kernel:
    """A kernel with what was measured of it.

    Attributes
    ----------
    operator
        What it computes and moves; by counters where a profiler had them.
    dtype
        Whose peak limits it.
    measured_s
        Seconds of all `operator.count` runs together; None where only counts are known.
    levels_bytes
        Bytes by level, "l2" and "l1", where counters had them.
    utilisation
        Share of the peak rate that counters saw, "compute" and "memory", from 0 to 1.
    """

    operator: Operator
    dtype: str = "bf16"
    measured_s: float | None = None
    levels_bytes: tuple[tuple[str, int], ...] = ()
    utilisation: tuple[tuple[str, float], ...] = ()

    @property
    def measured_bound(self) -> str | None:
        """The busier of compute and memory by counters; None without them."""
        return max(self.utilisation, key=lambda pair: pair[1])[0] if self.utilisation else None


@dataclass(frozen=True)
class KernelAnalysis:
    """Kernels on a device; `kernels` and `placed` in the same order."""

    device: Device
    dtype: str
    kernels: tuple[Kernel, ...]
    placed: tuple[Placed, ...]
    notes: tuple[str, ...] = ()

    @property
    def operators(self) -> tuple[Placed, ...]:
        """As in `Analysis`."""
        return self.placed

    @property
    def total_time_s(self) -> float:
        """Sum of the floors."""
        return sum(placed.time_s for placed in self.placed)

    @property
    def flop(self) -> int:
        """FLOP of all kernels."""
        return sum(placed.operator.flop for placed in self.placed)

    @property
    def bytes(self) -> int:
        """Compulsory bytes of all kernels, each on its own."""
        return sum(placed.operator.bytes for placed in self.placed)

    @property
    def unfused_bytes(self) -> int:
        """Bytes where every elementary step is a kernel of its own."""
        return sum(placed.operator.unfused_bytes for placed in self.placed)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "device": self.device.name,
            "dtype": self.dtype,
            "operators": [_row(one, put) for one, put in zip(self.kernels, self.placed, strict=True)],
            "total_time_s": self.total_time_s,
            "flop": self.flop,
            "bytes": self.bytes,
            "unfused_bytes": self.unfused_bytes,
            "intensity": self.flop / self.bytes if self.bytes else None,
            "ridge_flop_per_byte": self.device.ridge_flop_per_byte(self.dtype),
            "notes": list(self.notes),
        }


def _row(kernel: Kernel, placed: Placed) -> dict[str, Any]:
    row = {**placed.to_dict(), "dtype": kernel.dtype, "measured_s": kernel.measured_s}
    if kernel.measured_s:
        row |= {
            "measured_flop_per_s": placed.operator.flop / kernel.measured_s,
            "measured_bytes_per_s": placed.operator.bytes / kernel.measured_s,
            "of_roof": placed.time_s / kernel.measured_s,
        }
    if kernel.utilisation:
        row |= {"utilisation": dict(kernel.utilisation), "measured_bound": kernel.measured_bound}
    return row | {f"{level}_bytes": size for level, size in kernel.levels_bytes}


def analyze_kernels(
    kernels: str | Path | Sequence[Kernel], *, device: str | Path | Device, dtype: str = "bf16"
) -> KernelAnalysis:
    """Put kernels on the roofline of a device.

    Parameters
    ----------
    kernels
        `Kernel`s, or a path: a table (.csv, .toml, .json) with name and flop and bytes, or kind and sizes;
        the CSV of `ncu --csv --page raw`; a trace of torch's profiler (.json, .json.gz).
    device
        As for `roofline.device`; `roofline measure` gives one with L2 and launch.
    dtype
        Of kernels whose source does not say.

    Raises
    ------
    BadInput
        An unreadable file, a table without the needed columns, a kernel without work, or a rate that the
        device's table lacks.

    Notes
    -----
    A kernel that was measured above the roof is reported with the likely reason.
    """
    from roofline.profiles import read_kernels

    hardware, short = find_device(device), dtype_name(dtype)
    found = read_kernels(Path(kernels), dtype=short) if isinstance(kernels, str | Path) else tuple(kernels)
    if not found:
        raise BadInput("no kernel to place: expected at least one")
    placed = tuple(place(one.operator, hardware, dtype=one.dtype) for one in found)
    notes = [note for one, put in zip(found, placed, strict=True) if (note := _impossible(one, put))]
    return KernelAnalysis(hardware, short, found, placed, (*sparse_looking(hardware), *notes))


def _impossible(kernel: Kernel, placed: Placed) -> str | None:
    if not kernel.measured_s or placed.time_s <= _OVER * kernel.measured_s:
        return None
    why = {
        "memory": "the data was still in a cache, or fewer bytes were moved than counted",
        "compute": "another dtype ran than was said, or fewer FLOP than counted (a causal mask, sparsity)",
    }.get(placed.bound, "a ceiling of the device is too low")
    return f"{kernel.operator.name}: measured {placed.time_s / kernel.measured_s:.2f} times the roof: {why}"


def analyze_torch(
    function: Callable[..., Any],
    *arguments: Any,
    device: str | Path | Device,
    dtype: str = "bf16",
    by: str = "module",
    **options: Any,
) -> KernelAnalysis:
    """Count a torch function with `trace` and put what it runs on the roofline of a device.

    Parameters
    ----------
    function, arguments, options
        As for `trace`: a module or function and its (meta) tensors.
    dtype
        Whose matrix peak limits the products.
    by
        "module": the code of each module as one kernel, which is compulsory traffic with the unfused bytes
        beside it; "operator": every operator of torch on its own.

    Raises
    ------
    BadInput
        As `trace`, and an unknown `by`.
    """
    if by not in ("module", "operator"):
        raise BadInput(f"by is {by!r}, expected module or operator")
    found = trace(function, *arguments, **options)
    operators = found.modules if by == "module" else found.operators
    hardware, short = find_device(device), dtype_name(dtype)
    kernels = tuple(Kernel(operator, short) for operator in operators if operator.bytes)
    notes = (f"{found.assumed} questions about values were answered with true",) if found.assumed else ()
    placed = tuple(place(one.operator, hardware, dtype=short) for one in kernels)
    return KernelAnalysis(hardware, short, kernels, placed, notes)
