"""Priorities, processor sharing and batches in simpy, to be read: what the compiled ones must equal."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np


def simulate_priority_with_simpy(
    gaps_s: np.ndarray, services_s: np.ndarray, classes: np.ndarray, servers: int
) -> tuple[np.ndarray, np.ndarray]:
    """Non-preemptive priorities: a server that becomes free takes the first of the lowest class.

    Parameters and returns as for `engine.priority.simulate_priority`.
    """
    import simpy

    clock = simpy.Environment()
    desk = simpy.PriorityResource(clock, capacity=servers)
    waits, sojourns = np.empty(len(gaps_s)), np.empty(len(gaps_s))

    def customer(number: int) -> Generator[Any, Any, None]:
        arrived = clock.now
        with desk.request(priority=int(classes[number])) as turn:
            yield turn
            waits[number] = clock.now - arrived
            yield clock.timeout(float(services_s[number]))
            sojourns[number] = clock.now - arrived

    _let_arrive(clock, gaps_s, customer)
    return waits, sojourns


def simulate_sharing_with_simpy(
    gaps_s: np.ndarray, works_s: np.ndarray, speeds: np.ndarray, *, limited: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """All who are served go on at the same speed, which changes whenever one comes or goes.

    Parameters and returns as for `engine.sharing.simulate_sharing`.
    """
    import simpy

    clock = simpy.Environment()
    desk = simpy.Resource(clock, capacity=len(speeds) if limited else max(len(gaps_s), 1))
    waits, sojourns = np.empty(len(gaps_s)), np.empty(len(gaps_s))
    left: dict[int, float] = {}  # work that each customer in service still needs
    changed = [clock.event()]

    def speed() -> float:
        together = len(left)
        return float(speeds[together - 1] if together <= len(speeds) else speeds[-1] * len(speeds) / together)

    def tell() -> None:
        changed[0].succeed()
        changed[0] = clock.event()

    def customer(number: int) -> Generator[Any, Any, None]:
        arrived = clock.now
        with desk.request() as turn:
            yield turn
            waits[number] = clock.now - arrived
            # Two who come or go at one time must not count a moment of each other.
            left[number] = float(works_s[number])
            tell()
            while True:
                now, pace, other = clock.now, speed(), changed[0]
                finished = clock.timeout(max(left[number], 0.0) / pace)
                if finished in (yield finished | other):
                    break
                left[number] -= (clock.now - now) * pace
            del left[number]
            tell()
            sojourns[number] = clock.now - arrived

    _let_arrive(clock, gaps_s, customer)
    return waits, sojourns


def simulate_batching_with_simpy(
    gaps_s: np.ndarray, fixed_s: float, each_s: float, largest: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The server takes all who wait, up to `largest`, and is gone for fixed_s + n each_s seconds.

    Parameters and returns as for `engine.batching.simulate_batching`.
    """
    import simpy

    clock = simpy.Environment()
    line = simpy.Store(clock)
    arrived, waits, sojourns = np.empty(len(gaps_s)), np.empty(len(gaps_s)), np.empty(len(gaps_s))

    def customer(number: int) -> Generator[Any, Any, None]:
        arrived[number] = clock.now
        yield line.put(number)

    def server() -> Generator[Any, Any, None]:
        while True:
            batch = [(yield line.get())]
            while line.items and len(batch) < (largest or len(gaps_s)):
                batch.append((yield line.get()))
            waits[batch] = clock.now - arrived[batch]
            yield clock.timeout(fixed_s + each_s * len(batch))
            sojourns[batch] = clock.now - arrived[batch]

    clock.process(server())
    _let_arrive(clock, gaps_s, customer)
    return waits, sojourns


def _let_arrive(clock: Any, gaps_s: np.ndarray, customer: Any) -> None:
    def street() -> Generator[Any, Any, None]:
        for number, gap in enumerate(gaps_s):
            yield clock.timeout(float(gap))
            clock.process(customer(number))

    clock.process(street())
    clock.run()
