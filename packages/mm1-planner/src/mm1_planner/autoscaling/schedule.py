"""A schedule that starts replicas before the traffic comes, so that their start-up is over in time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from mm1_planner.autoscaling.laws import Scaler
from mm1_planner.autoscaling.simulation import Autoscaled, Floor
from mm1_planner.autoscaling.traffic import Traffic

_ROUNDS = 24
_STEP = 0.05


def schedule_of(
    rates_per_s: Sequence[float],
    window_s: float,
    needed: Callable[[float, int], int],
    scaler: Scaler,
    *,
    margin: float = 0.0,
) -> tuple[Floor, ...]:
    """Least replicas by time: each window's need, begun early enough to be ready when it starts.

    Parameters
    ----------
    rates_per_s : sequence of float
        Expected rate in windows of `window_s` from time 0 on.
    needed : callable
        Replicas for a steady rate, and at most so many.
    margin : float
        Share added to each rate.

    Notes
    -----
    The lead is the start-up delay plus one decision. Between its start and its window's end a need stands;
    where needs overlap the larger one does.
    """
    needs = [needed(rate * (1 + margin), scaler.most) for rate in rates_per_s]
    lead = scaler.startup_s + scaler.sync_s
    edges = sorted({0.0, *(max(0.0, i * window_s - lead) for i in range(len(needs))),
                    *((i + 1) * window_s for i in range(len(needs)))})  # fmt: skip
    floors: list[Floor] = []
    for edge in edges:
        first = int(edge // window_s)
        last = math.ceil((edge + lead) / window_s + 1e-9)
        need = max(needs[first:last], default=0)
        if not floors or floors[-1].replicas != need:
            floors.append(Floor(edge, need))
    return tuple(floors)


def rates_of(arrivals_s: np.ndarray, window_s: float) -> list[float]:
    """Arrivals per second in windows from time 0 on."""
    count = max(1, math.ceil(float(arrivals_s[-1]) / window_s + 1e-9))
    counts = np.histogram(arrivals_s, bins=count, range=(0.0, count * window_s))[0]
    return [float(each) / window_s for each in counts]


def fixing_schedule(
    traffic: Traffic,
    scaler: Scaler,
    *,
    rates_per_s: Sequence[float],
    window_s: float,
    initial: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[tuple[Floor, ...], Autoscaled]:
    """The schedule with the smallest margin, in steps of 5 %, with which the scaler keeps the promise.

    Returns the best found where no margin up to 115 % does (a replica may be too slow to start at all).
    """
    best: tuple[tuple[Floor, ...], Autoscaled] | None = None
    for number in range(_ROUNDS):
        schedule = schedule_of(rates_per_s, window_s, traffic.needed, scaler, margin=number * _STEP)
        run = traffic.run(scaler, schedule=schedule, initial=initial)
        if on_progress:
            on_progress(number + 1, _ROUNDS)
        if best is None or run.attainment > best[1].attainment:
            best = (schedule, run)
        if run.held:
            return schedule, run
    assert best is not None
    return best
