"""From a tail to a percentile."""

from __future__ import annotations

import math
from collections.abc import Callable

# The relative width at which the search ends: two neighbouring numbers, but for the last bits.
_WIDTH = 2.0**-51
_SMALLEST = 5e-324


def percentile_of(
    tail: Callable[[float], float],
    exceeding: float,
    low_s: float,
    high_s: float,
    *,
    relative: float = _WIDTH,
) -> float:
    """The t in [low_s, high_s] where the decreasing `tail(t)` equals `exceeding`; or an end.

    The Illinois variant of false position on the logarithm of the tail, nearly a straight line for most
    queues, with a bisection whenever three steps have not halved the interval: about ten calls, and never
    more than three times bisection's. As exact as the tail itself, or as `relative`, the width of the
    interval in which the search ends.
    """

    def above(time_s: float) -> float:
        return math.log(max(tail(time_s), _SMALLEST) / exceeding)

    low, high = above(low_s), above(high_s)
    if low <= 0:
        return low_s
    if high >= 0:
        return high_s
    width, steps, side = high_s - low_s, 0, 0
    while high_s - low_s > relative * high_s:
        steps += 1
        middle = low_s + (high_s - low_s) * (low / (low - high))
        if steps % 3 == 0 and high_s - low_s > width / 2:
            middle = low_s + (high_s - low_s) / 2
        if steps % 3 == 0:
            width = high_s - low_s
        # At least half the final width from either end, or the interval would never close from the far side.
        nudge = relative * high_s / 2
        middle = min(max(middle, low_s + nudge), high_s - nudge)
        if not low_s < middle < high_s:
            break
        value = above(middle)
        if value > 0:
            low_s, low = middle, value
            high, side = (high / 2 if side > 0 else high), 1
        else:
            high_s, high = middle, value
            low, side = (low / 2 if side < 0 else low), -1
        if value == 0:
            return middle
    return high_s


def upper_bracket(tail: Callable[[float], float], exceeding: float, start_s: float) -> float:
    """A time where `tail` has fallen to `exceeding`, by doubling `start_s`."""
    while tail(start_s) > exceeding:
        start_s *= 2
    return start_s
