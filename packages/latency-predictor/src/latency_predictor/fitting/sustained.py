"""The rate of products on a chip that has no time to rest, over that of a rested one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def sustained_share(content: Mapping[str, Any]) -> float | None:
    """Share of their rested rate that products keep without pauses; None where it was not measured.

    Operators are measured one by one on a chip that rests in between, a whole pass keeps it busy: at its
    limit of power it lowers its clocks.

    Parameters
    ----------
    content
        A file of `collect`, of which its rows of the kind "sustained" count.
    """
    rows = [row for row in content.get("rows", ()) if row.get("kind") == "sustained"]
    seconds = {bool(row["rested"]): float(row["latency_s"]) for row in rows}
    if len(seconds) < len((True, False)):
        return None
    return min(1.0, seconds[True] / seconds[False])
