"""The search finds the threshold, wherever it starts and wherever it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mm1_planner.search import fewest


@given(
    low=st.integers(1, 100),
    threshold=st.integers(1, 5000),
    guess=st.integers(-10, 9000),
    most=st.integers(1, 4000),
)
def test_the_smallest_that_passes(low: int, threshold: int, guess: int, most: int) -> None:
    asked: list[int] = []

    def meets(n: int) -> bool:
        asked.append(n)
        return n >= threshold

    expected = max(low, threshold) if max(low, threshold) <= most else None
    assert fewest(meets, low=low, guess=guess, most=most) == expected
    assert all(low <= n <= most for n in asked)
    assert len(asked) < 40
