"""The queue in simpy, written to be read: what the fast engine must equal, customer by customer."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np


def simulate_with_simpy(
    gaps_s: np.ndarray,
    services_s: np.ndarray,
    servers: int,
    capacity: int | None = None,
    patience_s: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Wait and sojourn of each customer, first come first served; NaN for those turned away or gone.

    Parameters
    ----------
    gaps_s : ndarray
        Time from the previous arrival to each arrival, float64 seconds (n,); the first from time zero.
    services_s : ndarray
        Service time of each customer, float64 seconds (n,).
    servers : int
        Number of servers, one queue.
    capacity : int, optional
        Most customers in the system at once; unlimited by default.
    patience_s : ndarray, optional
        Time after which each customer, if still waiting, leaves, float64 seconds (n,); endless by default.

    Returns
    -------
    waits_s, sojourns_s : ndarray
        float64 seconds (n,).
    """
    import simpy

    desk_and_queue = simpy.Environment()
    desk = simpy.Resource(desk_and_queue, capacity=servers)
    waits = np.full(len(gaps_s), np.nan)
    sojourns = np.full(len(gaps_s), np.nan)

    def customer(number: int) -> Generator[Any, Any, None]:
        arrived = desk_and_queue.now
        if capacity is not None and len(desk.users) + len(desk.queue) >= capacity:
            return
        with desk.request() as turn:
            if patience_s is None:
                yield turn
            elif turn not in (yield turn | desk_and_queue.timeout(float(patience_s[number]))):
                return
            waits[number] = desk_and_queue.now - arrived
            yield desk_and_queue.timeout(float(services_s[number]))
            sojourns[number] = desk_and_queue.now - arrived

    def street() -> Generator[Any, Any, None]:
        for number, gap in enumerate(gaps_s):
            yield desk_and_queue.timeout(float(gap))
            desk_and_queue.process(customer(number))

    desk_and_queue.process(street())
    desk_and_queue.run()
    return waits, sojourns
