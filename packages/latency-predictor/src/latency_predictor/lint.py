"""Which measurements cannot be true, before anything is fitted on them, and how much true ones scatter."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from roofline import Device, analyze

# A pass below this share of the data sheet's floor is no pass; a little below can be a cache.
FLOOR_SHARE = 0.9
# So many times the floor no stack is; a thousandth of it would be plausible: milliseconds taken for seconds.
SLOWEST = 200.0
_GENERATED_SHARE = 0.98
_KEY = ("model", "device", "stack", "phase", "batch", "positions", "dtype")


@dataclass(frozen=True)
class Dropped:
    """A row that is not used, by its number from 1, and why."""

    row: int
    reason: str


@dataclass(frozen=True)
class Linted:
    """Rows to use, those dropped, and the noise: the median spread of log(time) among repeated rows (None
    without any).
    """

    rows: tuple[Mapping[str, Any], ...]
    dropped: tuple[Dropped, ...]
    noise: float | None

    def sentences(self) -> list[str]:
        """What a user should read."""
        found = [f"row {one.row} dropped: {one.reason}" for one in self.dropped]
        if self.noise is not None:
            found.append(f"repeated rows differ by {self.noise:.1%}: no fit can be closer than that")
        return found


def lint(rows: Sequence[Mapping[str, Any]], device: Device) -> Linted:
    """Drop what is below the physical floor, in the wrong unit, or stopped early; join repeated rows.

    Parameters
    ----------
    rows
        From `importing.read_measurements`. `requested` and `generated` tokens are compared where a row has
        them.
    device
        Whose data sheet gives the floor.
    """
    dropped: list[Dropped] = []
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for number, row in enumerate(rows, 1):
        reason = _reason(row, device)
        if reason:
            dropped.append(Dropped(number, reason))
        else:
            groups[tuple(row.get(key) for key in _KEY)].append(row)
    spreads, kept = [], []
    for same in groups.values():
        times = [float(row["latency_s"]) for row in same]
        if len(times) > 1:
            spreads.append(max(times) / min(times) - 1)
        kept.append({**same[0], "latency_s": statistics.median(times)})
    return Linted(tuple(kept), tuple(dropped), statistics.median(spreads) if spreads else None)


def floor_s(row: Mapping[str, Any], device: Device) -> float:
    """Least time of a pass by the data sheet."""
    return analyze(
        row["model"],
        device=device,
        batch=row["batch"],
        sequence=row["positions"],
        phase=row["phase"],
        dtype=row.get("dtype", "bf16"),
    ).total_time_s


def _reason(row: Mapping[str, Any], device: Device) -> str:
    seconds, requested, generated = row["latency_s"], row.get("requested"), row.get("generated")
    if requested and generated and float(generated) < _GENERATED_SHARE * float(requested):
        return f"generation stopped early, {generated} of {requested} tokens"
    floor = floor_s(row, device)
    if seconds < FLOOR_SHARE * floor:
        unit = ", as if milliseconds were divided by 1000 twice" if _plausible(seconds * 1e3, floor) else ""
        return f"{_ms(seconds)} is under the physical floor of {_ms(floor)} on {device.name}{unit}"
    if seconds > SLOWEST * floor and _plausible(seconds / 1e3, floor):
        times = seconds / floor
        return f"latency_s is {seconds:.4g}, {times:.0f} times the floor: milliseconds given as seconds"
    return ""


def _plausible(seconds: float, floor: float) -> bool:
    return FLOOR_SHARE * floor <= seconds <= SLOWEST * floor


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.4g} ms" if math.isfinite(seconds) else str(seconds)
