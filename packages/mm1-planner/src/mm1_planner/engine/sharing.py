"""Customers served side by side, each the slower the more there are, compiled."""

from __future__ import annotations

import numpy as np

from mm1_planner.engine.fast import compiled


def simulate_sharing(
    gaps_s: np.ndarray, works_s: np.ndarray, speeds: np.ndarray, *, limited: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Waits and sojourns, as `simulate_sharing_with_simpy`.

    Parameters
    ----------
    gaps_s, works_s : ndarray
        float64 (n,): seconds between arrivals, and of work at speed 1.
    speeds : ndarray
        float64 (B,): speed of each customer while 1, 2, ..., B are served together.
    limited : bool
        Whether only B are served together and the others wait, first come first served. Otherwise all are,
        and beyond B they share what B had.

    Returns
    -------
    waits_s, sojourns_s : ndarray
        float64 seconds (n,). Cost O(n log B); for the longest queue reached where not limited.
    """
    waits, sojourns = np.empty(len(gaps_s)), np.empty(len(gaps_s))
    _run(gaps_s, works_s, speeds, limited, waits, sojourns)
    return waits, sojourns


@compiled
def _run(
    gaps: np.ndarray,
    works: np.ndarray,
    speeds: np.ndarray,
    limited: bool,
    waits: np.ndarray,
    sojourns: np.ndarray,
) -> None:
    # `done` is the work that a customer served without a break has had: one clock serves all.
    count, most = gaps.size, speeds.size
    arrived = np.cumsum(gaps)
    ends, who = np.empty(16), np.empty(16, dtype=np.int64)  # a heap by the clock at which each is finished
    served, next_in_line, done, now, i = 0, 0, 0.0, 0.0, 0
    while True:
        if served == 0:
            if i == count:
                break
            done, now = 0.0, arrived[i]
            speed, finish = 1.0, np.inf
        else:
            speed = speeds[served - 1] if served <= most else speeds[most - 1] * most / served
            finish = now + (ends[0] - done) / speed
        coming = arrived[i] if i < count else np.inf
        if finish <= coming:
            done, now = ends[0], finish
            leaver = who[0]
            sojourns[leaver] = now - arrived[leaver]
            served -= 1
            _sink(ends, who, served)
            if limited and next_in_line < i:
                ends, who = _let_in(ends, who, served, next_in_line, done + works[next_in_line])
                waits[next_in_line] = now - arrived[next_in_line]
                served, next_in_line = served + 1, next_in_line + 1
            continue
        done, now = done + (coming - now) * speed if served else 0.0, coming
        if not limited or served < most:
            ends, who = _let_in(ends, who, served, i, done + works[i])
            waits[i] = 0.0
            served, next_in_line = served + 1, i + 1
        i += 1


@compiled
def _let_in(
    ends: np.ndarray, who: np.ndarray, served: int, number: int, end: float
) -> tuple[np.ndarray, np.ndarray]:
    if served == ends.size:
        ends = np.concatenate((ends, np.empty_like(ends)))
        who = np.concatenate((who, np.empty_like(who)))
    place = served
    while place > 0 and ends[(place - 1) // 2] > end:
        parent = (place - 1) // 2
        ends[place], who[place] = ends[parent], who[parent]
        place = parent
    ends[place], who[place] = end, number
    return ends, who


@compiled
def _sink(ends: np.ndarray, who: np.ndarray, served: int) -> None:
    """Remove the smallest: the last of the heap takes its place and sinks."""
    end, number = ends[served], who[served]
    place = 0
    while 2 * place + 1 < served:
        child = 2 * place + 1
        if child + 1 < served and ends[child + 1] < ends[child]:
            child += 1
        if ends[child] >= end:
            break
        ends[place], who[place] = ends[child], who[child]
        place = child
    ends[place], who[place] = end, number
