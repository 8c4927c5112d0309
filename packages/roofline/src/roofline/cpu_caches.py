"""The caches of a CPU as Linux lists them, and which level a working set stays in."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

_SYSTEM = Path("/sys/devices/system/cpu")
_UNKNOWN = {"l1": 32 << 10, "llc": 32 << 20}


def usable_cpus() -> int:
    """CPUs that this process may run on, which a container's set can make fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cache_bytes(system: Path = _SYSTEM) -> dict[str, int]:
    """Bytes of each level over all CPUs of this process: `l1 l2 llc`; the last level listed is `llc`.

    A cache that several CPUs share is counted once. Where nothing is listed: 32 KiB a CPU and 32 MiB.
    """
    levels: dict[int, dict[str, int]] = {}
    for cpu in range(usable_cpus()):
        for entry in (system / f"cpu{cpu}" / "cache").glob("index*"):
            level, kind, size, shared = (
                _text(entry / key) for key in ("level", "type", "size", "shared_cpu_list")
            )
            if kind != "Instruction" and level.isdigit() and size:
                levels.setdefault(int(level), {})[shared] = _size(size)
    if not levels:
        return {"l1": _UNKNOWN["l1"] * usable_cpus(), "llc": _UNKNOWN["llc"]}
    last = max(levels)
    return {
        "llc" if level == last and level > 1 else f"l{level}": sum(found.values())
        for level, found in sorted(levels.items())
    }


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _size(text: str) -> int:
    return int(text.rstrip("KMG")) * {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1], 1)


def plateaus(
    rows: Sequence[Mapping[str, float]], caches: Mapping[str, int], *, kernel: str = "read"
) -> dict[str, float]:
    """Bytes/s within each level: the median of `kernel` over the working sets that only that level holds.

    A set counts for a level from one and a half times the size of the level before to 0.6 of its own, where
    neither end blurs it. A level without such a set has no figure.
    """
    found, below = {}, 0
    for name, size in caches.items():
        inside = [
            row[f"{kernel}_bytes_per_s"]
            for row in rows
            if 1.5 * below <= row["working_set_bytes"] <= 0.6 * size
        ]
        if inside:
            found[name] = statistics.median(inside)
        below = size
    return found
