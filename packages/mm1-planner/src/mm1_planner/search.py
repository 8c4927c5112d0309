"""The smallest whole number that passes."""

from __future__ import annotations

from collections.abc import Callable


def fewest(meets: Callable[[int], bool], *, low: int, guess: int, most: int) -> int | None:
    """The smallest n in [low, most] with `meets(n)`, a test that stays true once it is; None without one.

    Strides double away from `guess`, then halve: O(log |answer - guess|) tests.
    """
    if low > most:
        return None
    good, bad = _bracket(meets, low, min(max(guess, low), most), most)
    if good is None:
        return None
    while good - bad > 1:
        middle = (good + bad) // 2
        if meets(middle):
            good = middle
        else:
            bad = middle
    return good


def _bracket(meets: Callable[[int], bool], low: int, guess: int, most: int) -> tuple[int | None, int]:
    """A passing number and a smaller failing one; `low - 1` counts as failing."""
    stride = 1
    if meets(guess):
        good = guess
        while good > low:
            lower = max(low, good - stride)
            if not meets(lower):
                return good, lower
            good, stride = lower, 2 * stride
        return good, low - 1
    bad = guess
    while bad < most:
        higher = min(most, bad + stride)
        if meets(higher):
            return higher, bad
        bad, stride = higher, 2 * stride
    return None, bad
