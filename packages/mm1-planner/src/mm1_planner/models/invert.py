"""From a tail to a percentile."""

from __future__ import annotations

from collections.abc import Callable


def percentile_of(tail: Callable[[float], float], exceeding: float, low_s: float, high_s: float) -> float:
    """The t in [low_s, high_s] where the decreasing `tail(t)` equals `exceeding`.

    Bisection until the interval cannot be halved: as exact as the tail itself, whatever its shape.
    """
    while low_s < (middle := low_s + (high_s - low_s) / 2) < high_s:
        if tail(middle) > exceeding:
            low_s = middle
        else:
            high_s = middle
    return high_s


def upper_bracket(tail: Callable[[float], float], exceeding: float, start_s: float) -> float:
    """A time where `tail` has fallen to `exceeding`, by doubling `start_s`."""
    while tail(start_s) > exceeding:
        start_s *= 2
    return start_s
