"""The same queue compiled by numba. Import this module only where it runs: numba takes a second to load."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np


def simulate_fast(
    gaps_s: np.ndarray,
    services_s: np.ndarray,
    servers: int,
    capacity: int | None = None,
    patience_s: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """As `simulate_with_simpy`, bit for bit the same waits and sojourns.

    One server is Lindley's recursion; several keep a heap of the times at which each becomes free.
    Cost O(n log servers), and the memory of the arrays.
    """
    return Station(servers, capacity, patient=patience_s is None).serve(gaps_s, services_s, patience_s)


class Station:
    """A queue that serves one block of customers after another, with the memory of its servers and places.

    Parameters
    ----------
    servers : int
        Number of servers, one queue.
    capacity : int, optional
        Most customers in the system at once; unlimited by default.
    patient : bool
        Whether nobody gives up.
    """

    def __init__(self, servers: int, capacity: int | None = None, *, patient: bool = True) -> None:
        self._simple = servers == 1 and capacity is None and patient
        self._clock = np.zeros(2)
        self._free_at = np.zeros(servers)  # a heap: the first to be free stands at 0
        self._room = -1 if capacity is None else capacity - servers
        self._starts = np.full(max(self._room, 1), -np.inf)  # of the last `room` customers let in, in a ring
        self._let_in = np.zeros(1, dtype=np.int64)

    def serve(
        self, gaps_s: np.ndarray, services_s: np.ndarray, patience_s: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Waits and sojourns of the next customers, float64 seconds (n,); NaN for those turned away."""
        waits, sojourns = np.empty(len(gaps_s)), np.empty(len(gaps_s))
        if self._simple:
            _one_server(self._clock, gaps_s, services_s, waits, sojourns)
        else:
            patience = np.empty(0) if patience_s is None else patience_s
            state = (self._clock, self._free_at, self._starts, self._let_in)
            _many_servers(*state, self._room, gaps_s, services_s, patience, waits, sojourns)
        return waits, sojourns

    def rewind(self) -> None:
        """Set the clock to zero at this moment: after 1e9 customers a clock would have lost seven digits."""
        now = self._clock[0]
        self._clock -= now
        self._free_at -= now
        self._starts -= now


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function compiled without the interpreter lock, kept on disk where there is a place for it."""
    compiler: Callable[..., Any] = numba.njit
    try:
        return compiler(cache=True, nogil=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:
        # No folder to write the cache to (a read-only image without a home): compile in each process.
        return compiler(nogil=True)(function)  # type: ignore[no-any-return]


@compiled
def _one_server(
    clock: np.ndarray, gaps: np.ndarray, services: np.ndarray, waits: np.ndarray, sojourns: np.ndarray
) -> None:
    # Times on one clock, not Lindley's differences: the roundings are then those of an event simulation.
    now, free = clock[0], clock[1]
    for i in range(gaps.size):
        now += gaps[i]
        start = max(now, free)
        free = start + services[i]
        waits[i] = start - now
        sojourns[i] = free - now
    clock[0], clock[1] = now, free


@compiled
def _many_servers(
    clock: np.ndarray,
    free_at: np.ndarray,
    starts: np.ndarray,
    counter: np.ndarray,
    room: int,
    gaps: np.ndarray,
    services: np.ndarray,
    patience: np.ndarray,
    waits: np.ndarray,
    sojourns: np.ndarray,
) -> None:
    now, let_in, servers = clock[0], counter[0], free_at.size
    for i in range(gaps.size):
        now += gaps[i]
        soonest = free_at[0]
        # Starts never decrease, so the queue is full exactly when the customer `room` back has not started.
        full = room == 0 or (room > 0 and let_in >= room and starts[let_in % room] > now)
        # Those ahead who give up never take a server, so the first free one is known at the arrival.
        gone = patience.size > 0 and soonest > now + patience[i]
        if gone or (full and soonest > now):
            waits[i] = np.nan
            sojourns[i] = np.nan
            continue
        start = max(now, soonest)
        end = start + services[i]
        waits[i] = start - now
        sojourns[i] = end - now
        if room > 0:
            starts[let_in % room] = start
        let_in += 1
        hole = 0
        while 2 * hole + 1 < servers:
            child = 2 * hole + 1
            if child + 1 < servers and free_at[child + 1] < free_at[child]:
                child += 1
            if free_at[child] >= end:
                break
            free_at[hole] = free_at[child]
            hole = child
        free_at[hole] = end
    clock[0], counter[0] = now, let_in
