"""The orders of a simulated sum: each takes rounded terms and a Rounder, answers sum and stagnation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stable_ops.fp.rounding import Rounder

Order = Literal["sequential", "pairwise", "blocked", "kahan", "neumaier"]
Sum = tuple[float, int | None]
Terms = NDArray[np.float64]


def sequential(x: Terms, to: Rounder, block: int) -> Sum:
    """One running sum."""
    total, changed_at = 0.0, 0
    for i, value in enumerate(x.tolist(), start=1):
        new = to.add(total, value)
        if new != total:
            changed_at = i
        total = new
    return total, _stagnation(x, changed_at)


def kahan(x: Terms, to: Rounder, block: int) -> Sum:
    """A running sum; what each addition lost is taken off the next value."""
    total, lost, changed_at = 0.0, 0.0, 0
    for i, value in enumerate(x.tolist(), start=1):
        corrected = to.add(value, -lost)
        new = to.add(total, corrected)
        lost = to.add(to.add(new, -total), -corrected)
        # A value held back in the compensation has not stagnated: it arrives later.
        if new != total or lost != 0.0:
            changed_at = i
        total = new
    return total, _stagnation(x, changed_at)


def neumaier(x: Terms, to: Rounder, block: int) -> Sum:
    """A running sum and a running sum of what its additions lost, joined at the end."""
    total, lost, changed_at = 0.0, 0.0, 0
    for i, value in enumerate(x.tolist(), start=1):
        new = to.add(total, value)
        large, small = (total, value) if abs(total) >= abs(value) else (value, total)
        kept = to.add(lost, to.add(to.add(large, -new), small))
        if new != total or kept != lost:
            changed_at = i
        total, lost = new, kept
    return to.add(total, lost), _stagnation(x, changed_at)


def pairwise(x: Terms, to: Rounder, block: int) -> Sum:
    """A balanced tree of neighbours."""
    if x.size == 0:
        return 0.0, None
    while x.size > 1:
        even = x.size // 2 * 2
        x = np.concatenate([to.add_arrays(x[0:even:2], x[1:even:2]), x[even:]])
    return float(x[0]), None


def blocked(x: Terms, to: Rounder, block: int) -> Sum:
    """Running sums over a stride of `block`, then halves added to halves, as a warp's shuffles do."""
    padded = np.concatenate([x, np.zeros(-x.size % block)]).reshape(-1, block)
    lanes, changed_at = np.zeros(block), np.zeros(block, dtype=np.int64)
    for i, row in enumerate(padded, start=1):
        new = to.add_arrays(lanes, row)
        changed_at[new != lanes] = i
        lanes = new
    # The last nonzero value of a lane, and whether its sum still moved then.
    used = padded != 0
    last = (
        np.where(used.any(axis=0), padded.shape[0] - np.argmax(used[::-1], axis=0), 0)
        if x.size
        else changed_at
    )
    stuck = changed_at < last
    width = 1 << max(0, block - 1).bit_length()
    lanes = np.concatenate([lanes, np.zeros(width - block)])
    while width > 1:
        width //= 2
        lanes = to.add_arrays(lanes[:width], lanes[width:])
    return float(lanes[0]), int(changed_at[stuck].min()) * block if stuck.any() else None


def _stagnation(x: Terms, changed_at: int) -> int | None:
    return changed_at if np.any(x[changed_at:] != 0) else None


ORDERS: dict[str, Callable[[Terms, Rounder, int], Sum]] = {
    "sequential": sequential,
    "pairwise": pairwise,
    "blocked": blocked,
    "kahan": kahan,
    "neumaier": neumaier,
}
