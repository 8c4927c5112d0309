"""A server that takes all who wait, up to a limit, in one batch, compiled."""

from __future__ import annotations

import numpy as np

from mm1_planner.engine.fast import compiled


def simulate_batching(
    gaps_s: np.ndarray, fixed_s: float, each_s: float, largest: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Waits and sojourns, as `simulate_batching_with_simpy`.

    Parameters
    ----------
    gaps_s : ndarray
        float64 seconds (n,).
    fixed_s, each_s : float
        A batch of n takes fixed_s + n each_s seconds and leaves together.
    largest : int, optional
        Most customers of a batch; unlimited by default.

    Returns
    -------
    waits_s, sojourns_s : ndarray
        float64 seconds (n,). Cost O(n).
    """
    waits, sojourns = np.empty(len(gaps_s)), np.empty(len(gaps_s))
    limit = len(gaps_s) + 1 if largest is None else largest
    _run(gaps_s, fixed_s, each_s, limit, waits, sojourns)
    return waits, sojourns


@compiled
def _run(
    gaps: np.ndarray, fixed: float, each: float, largest: int, waits: np.ndarray, sojourns: np.ndarray
) -> None:
    arrived = np.cumsum(gaps)
    free, first = 0.0, 0
    while first < gaps.size:
        start = max(free, arrived[first])
        beyond = first + 1
        while beyond < gaps.size and beyond - first < largest and arrived[beyond] <= start:
            beyond += 1
        free = start + (fixed + each * (beyond - first))
        for i in range(first, beyond):
            waits[i] = start - arrived[i]
            sojourns[i] = free - arrived[i]
        first = beyond
