"""Gaps of Markov-modulated arrivals, compiled."""

from __future__ import annotations

import numpy as np

from mm1_planner.engine.fast import compiled


def draw_gaps(rng: np.random.Generator, rates: np.ndarray, state: np.ndarray, count: int) -> np.ndarray:
    """The next gaps, float64 seconds (count,).

    Parameters
    ----------
    rng : Generator
        Two numbers are drawn for each event, arrival or switch.
    rates : ndarray
        (2, 2): for each state the rate of arrivals and of leaving it, per second.
    state : ndarray
        (1,): the state, changed in place.
    count : int
        Gaps wanted.
    """
    gaps = np.empty(count)
    _draw(rng, rates, state, gaps)
    return gaps


@compiled
def _draw(rng: np.random.Generator, rates: np.ndarray, state: np.ndarray, gaps: np.ndarray) -> None:
    now = int(state[0])
    for i in range(gaps.size):
        gap = 0.0
        while True:
            total = rates[now, 0] + rates[now, 1]
            gap += rng.standard_exponential() / total
            if rng.random() * total < rates[now, 0]:
                break
            now = 1 - now
        gaps[i] = gap
    state[0] = now
