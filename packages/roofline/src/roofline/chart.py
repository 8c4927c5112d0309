"""What a roofline chart shows, before it is decided how to draw it: ceilings and points."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from roofline.analysis import Analysis
from roofline.kernels import Kernel, KernelAnalysis
from roofline.placing import Placed, l2_bytes


@dataclass(frozen=True)
class Roof:
    """A ceiling: `bytes_per_s` for a slope, `flop_per_s` for a flat."""

    label: str
    bytes_per_s: float | None = None
    flop_per_s: float | None = None


@dataclass(frozen=True)
class Point:
    """A kernel, or several that the eye cannot tell apart.

    Attributes
    ----------
    label
        Names, joined by commas.
    intensity
        FLOP / byte of memory.
    flop_per_s
        Measured where a time is known, else what the roof allows.
    bound
        The binding ceiling of the largest of them.
    measured
        Whether `flop_per_s` was measured.
    roof_flop_per_s
        What the roof allows.
    l2_intensity
        FLOP / byte between L2 and multiprocessors; None where that level is not known.
    time_s
        Together, at `flop_per_s`.
    """

    label: str
    intensity: float
    flop_per_s: float
    bound: str
    measured: bool = False
    roof_flop_per_s: float = 0.0
    l2_intensity: float | None = None
    time_s: float = 0.0


@dataclass(frozen=True)
class Chart:
    """Ceilings and points with a title; `unplaced` are operators without FLOP, which no log axis can show."""

    title: str
    roofs: tuple[Roof, ...]
    points: tuple[Point, ...]
    unplaced: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def chart_of(analysis: Analysis | KernelAnalysis) -> Chart:
    """The chart of an analysis: memory and, where the device has a figure, L2 and L1; the peaks in use."""
    device = analysis.device
    roofs = [Roof(f"memory {_rate(device.bandwidth_bytes_per_s)}", bytes_per_s=device.bandwidth_bytes_per_s)]
    roofs += [
        Roof(f"{level.upper()} {_rate(rate)}", bytes_per_s=rate)
        for level, rate in device.levels_bytes_per_s.items()
    ]
    dtypes = {analysis.dtype}
    if isinstance(analysis, KernelAnalysis):
        dtypes |= {kernel.dtype for kernel in analysis.kernels}
    if any(placed.operator.kind in ("vector", "gather") for placed in analysis.operators):
        dtypes |= {"fp32"} & set(device.peaks_flop_per_s)
    roofs += [
        Roof(_peak(analysis, dtype), flop_per_s=device.peak_flop_per_s(dtype)) for dtype in sorted(dtypes)
    ]
    unplaced = [placed.operator.name for placed in analysis.operators if not placed.operator.flop]
    points = measured(analysis) if isinstance(analysis, KernelAnalysis) else []
    return Chart(_title(analysis), tuple(roofs), tuple(points or merged(analysis.operators)), tuple(unplaced))


def _title(analysis: Analysis | KernelAnalysis) -> str:
    if isinstance(analysis, KernelAnalysis):
        return f"{analysis.device.name}: {len(analysis.kernels)} kernels, {analysis.dtype}"
    ways = f", one of {analysis.tensor_parallel}" if analysis.tensor_parallel > 1 else ""
    return (
        f"{analysis.device.name}{ways}: {analysis.phase}, batch {analysis.batch},"
        f" sequence {analysis.sequence}, {analysis.dtype}"
    )


def _rate(value: float) -> str:
    return f"{value / 1e9:,.4g} GB/s" if value < 1e13 else f"{value / 1e12:,.4g} TB/s"


def _peak(analysis: Analysis | KernelAnalysis, dtype: str) -> str:
    peak = analysis.device.peak_flop_per_s(dtype)
    ridge = f"ridge {analysis.device.ridge_flop_per_byte(dtype):,.4g}"
    return f"{dtype} {peak / 1e12:,.4g} TFLOP/s, {ridge}"


def merged(operators: Iterable[Placed]) -> list[Point]:
    """Operators at what the roof allows; those that the eye cannot tell apart as one point."""
    groups: dict[tuple[float, float], list[Placed]] = {}
    for placed in operators:
        if placed.operator.flop:
            reached = placed.operator.flop / placed.time_s
            place = (
                round(math.log10(placed.operator.intensity_flop_per_byte), 1),
                round(math.log10(reached), 1),
            )
            groups.setdefault(place, []).append(placed)
    points = [_together(members) for members in groups.values()]
    return sorted(points, key=lambda point: point.intensity)


def _together(members: list[Placed]) -> Point:
    largest = max(members, key=lambda placed: placed.time_s)
    reached = largest.operator.flop / largest.time_s
    return Point(
        label=", ".join(dict.fromkeys(member.operator.name for member in members)),
        intensity=largest.operator.intensity_flop_per_byte,
        flop_per_s=reached,
        bound=largest.bound,
        roof_flop_per_s=reached,
        l2_intensity=largest.operator.flop / l2_bytes(largest.operator) if "l2" in largest.times_s else None,
        time_s=sum(member.time_s for member in members),
    )


def measured(analysis: KernelAnalysis) -> list[Point]:
    """Kernels at what was measured, each for itself; empty where no kernel has a time."""
    pairs = zip(analysis.kernels, analysis.placed, strict=True)
    found = [_measured(one, put) for one, put in pairs if one.measured_s and put.operator.flop]
    return sorted(found, key=lambda point: point.intensity)


def _measured(kernel: Kernel, placed: Placed) -> Point:
    assert kernel.measured_s
    levels = dict(kernel.levels_bytes)
    return Point(
        label=plain_name(kernel.operator.name),
        intensity=kernel.operator.intensity_flop_per_byte,
        flop_per_s=kernel.operator.flop / kernel.measured_s,
        bound=placed.bound,
        measured=True,
        roof_flop_per_s=placed.operator.flop / placed.time_s,
        l2_intensity=kernel.operator.flop / levels["l2"] if levels.get("l2") else None,
        time_s=kernel.measured_s,
    )


def plain_name(name: str) -> str:
    """A kernel's own name: of C++ what stands before its template arguments and parameters, without
    namespaces.

    >>> plain_name("void at::<unnamed>::vectorized_layer_norm_kernel<c10::BFloat16, float>(int, float)")
    'vectorized_layer_norm_kernel'
    >>> plain_name("gate_proj, up_proj")
    'gate_proj, up_proj'
    """
    text = name.removeprefix("void ").replace("<unnamed>::", "").replace("(anonymous namespace)::", "")
    own = re.split(r"[<(]", text, maxsplit=1)[0].rpartition("::")[2].strip()
    return own or name
