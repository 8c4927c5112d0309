"""Times as seconds, as counts since 1970 told by their size, and as dates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from mm1_planner.recordings.clock import seconds


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=20), st.sampled_from([10**3, 10**6, 10**9]))
def test_counts_since_1970_are_told_by_their_size(offsets: list[int], per_second: int) -> None:
    cells = [str(1_700_000_000 * per_second + offset) for offset in offsets]
    expected = [(offset - offsets[0]) / per_second for offset in offsets]
    np.testing.assert_allclose(seconds("t", cells), expected, rtol=1e-15)


def test_seconds_since_1970_and_small_counts_are_seconds() -> None:
    np.testing.assert_array_equal(seconds("t", ["1700000000", "1700000003"]), [0, 3])
    np.testing.assert_array_equal(seconds("t", ["5", "2.5"]), [5, 2.5])
    np.testing.assert_array_equal(seconds("t", ["1500", "2500"], milliseconds=True), [1.5, 2.5])


def test_zones_are_converted() -> None:
    np.testing.assert_array_equal(
        seconds("t", ["2024-05-10 00:00:00.5+00:00", "2024-05-10T02:00:01+02:00"]), [0, 0.5]
    )


@pytest.mark.parametrize("cells", [["1", "x"], ["soon"], ["2024-01-01", ""], ["inf"]])
def test_cells_that_are_no_times(cells: list[str]) -> None:
    with pytest.raises(BadInput):
        seconds("t", cells)
