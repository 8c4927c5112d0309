"""Times of arrival from the cells of a column: seconds, counts since 1970, or dates."""

from __future__ import annotations

import warnings

import numpy as np

from mfi_command import BadInput

# Seconds since 1970 reach 1e11 in the year 5138: a larger whole number counts something shorter.
_COUNTS = ((10**17, 1e9), (10**14, 1e6), (10**11, 1e3))


def seconds(name: str, cells: list[str], *, milliseconds: bool = False) -> np.ndarray:
    """Seconds since the first cell, float64 (n,), in the order of the file.

    Cells are seconds; whole counts of milliseconds, microseconds or nanoseconds since 1970, told by their
    size; or dates with up to nine digits of a second, UTC where they name no zone.

    Raises
    ------
    BadInput
        If a cell is none of these.
    """
    try:
        float(cells[0])
    except ValueError:
        return _dates(name, cells)
    if milliseconds:
        return numbers(name, cells) / 1e3
    try:
        # As whole numbers first: nanoseconds since 1970 do not fit a float64.
        whole = [int(cell) for cell in cells]
    except ValueError:
        return numbers(name, cells)
    per_second = next((unit for least, unit in _COUNTS if min(whole) >= least), 1.0)
    return np.array([float(count - whole[0]) for count in whole]) / per_second


def numbers(name: str, cells: list[str]) -> np.ndarray:
    """Cells as float64 (n,).

    Raises
    ------
    BadInput
        If one is not a finite number.
    """
    values = np.empty(len(cells))
    for row, cell in enumerate(cells):
        try:
            values[row] = float(cell)
        except ValueError:
            values[row] = np.nan
        if not np.isfinite(values[row]):
            raise BadInput(f"column {name!r} has {cell!r} in row {row + 1}; expected a finite number")
    return values


def _dates(name: str, cells: list[str]) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            # numpy warns that it keeps no zone; it converts to UTC, which is what differences need.
            warnings.simplefilter("ignore")
            stamps = np.array([cell.strip() for cell in cells], dtype="datetime64[ns]")
    except ValueError as error:
        raise BadInput(f"column {name!r} holds neither seconds nor dates: {error}") from None
    if np.isnat(stamps).any():
        raise BadInput(f"column {name!r} has no time in row {int(np.isnat(stamps).argmax()) + 1}")
    # Differences first: nanoseconds since 1970 do not fit a float64.
    return np.asarray((stamps - stamps[0]) / np.timedelta64(1, "s"))
