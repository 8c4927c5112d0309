"""Several classes, one queue each, non-preemptive, compiled."""

from __future__ import annotations

import numpy as np

from mm1_planner.engine.fast import compiled


def simulate_priority(
    gaps_s: np.ndarray, services_s: np.ndarray, classes: np.ndarray, servers: int
) -> tuple[np.ndarray, np.ndarray]:
    """Waits and sojourns, as `simulate_priority_with_simpy`; class 0 goes first.

    Parameters
    ----------
    gaps_s, services_s : ndarray
        float64 seconds (n,).
    classes : ndarray
        int64 (n,): the class of each customer, 0 the most urgent.
    servers : int
        Servers, all for every class.

    Returns
    -------
    waits_s, sojourns_s : ndarray
        float64 seconds (n,). Cost O(n (log servers + classes)).
    """
    waits, sojourns = np.empty(len(gaps_s)), np.empty(len(gaps_s))
    kinds = int(classes.max()) + 1 if len(classes) else 1
    _run(gaps_s, services_s, classes.astype(np.int64), servers, kinds, waits, sojourns)
    return waits, sojourns


@compiled
def _run(
    gaps: np.ndarray,
    services: np.ndarray,
    classes: np.ndarray,
    servers: int,
    kinds: int,
    waits: np.ndarray,
    sojourns: np.ndarray,
) -> None:
    count = gaps.size
    arrived = np.cumsum(gaps)
    free_at = np.zeros(servers)
    # Each class waits in a linked list of customers.
    first, last = np.full(kinds, -1), np.full(kinds, -1)
    after = np.full(count, -1)
    waiting = 0
    for i in range(count + 1):
        now = arrived[i] if i < count else np.inf
        while waiting > 0 and free_at[0] <= now:
            kind = 0
            while first[kind] < 0:
                kind += 1
            who = first[kind]
            first[kind] = after[who]
            waiting -= 1
            start = free_at[0]
            end = start + services[who]
            waits[who], sojourns[who] = start - arrived[who], end - arrived[who]
            _replace(free_at, end)
        if i == count:
            break
        if free_at[0] <= now:
            end = now + services[i]
            waits[i], sojourns[i] = 0.0, end - now
            _replace(free_at, end)
            continue
        kind = classes[i]
        if first[kind] < 0:
            first[kind] = i
        else:
            after[last[kind]] = i
        last[kind] = i
        waiting += 1


@compiled
def _replace(heap: np.ndarray, value: float) -> None:
    """Put a value in the place of the smallest."""
    hole = 0
    while 2 * hole + 1 < heap.size:
        child = 2 * hole + 1
        if child + 1 < heap.size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= value:
            break
        heap[hole] = heap[child]
        hole = child
    heap[hole] = value
