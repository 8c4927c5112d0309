"""What a command reads from the user and says while it works."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np

from mfi_command import BadInput
from mfi_command.progress import progress
from svd_compress.allocation import Layout
from svd_compress.bench import Progress
from svd_compress.matrices import Float64

EVERY_S = 30.0
log = logging.getLogger("svd-compress")


def matrix_from_json(text: str) -> Float64:
    """The matrix written as JSON rows, such as "[[3,1],[1,2]]".

    Raises
    ------
    BadInput
        If it is not JSON, or not rows of equally many numbers.
    """
    try:
        rows = json.loads(text)
        matrix: Float64 = np.array(rows, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise BadInput(f"--matrix is {text}; rows of numbers are expected, such as [[3,1],[1,2]]") from error
    return matrix


def shares(text: str) -> list[float]:
    """Numbers such as "0.9,0.8".

    Raises
    ------
    BadInput
        If it is not a list of numbers.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise BadInput(f"--keep is {text!r}; shares are expected, such as 0.9,0.8") from error


def numbers(text: str) -> list[int]:
    """Whole numbers such as "64,128".

    Raises
    ------
    BadInput
        If it is not a list of whole numbers.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise BadInput(f"--ranks is {text!r}; whole numbers are expected, such as 64,128") from error


def shapes_named(text: str) -> list[tuple[int, int]]:
    """Shapes such as "4096x4096,4096x14336".

    Raises
    ------
    BadInput
        If it is not a list of shapes of two positive sizes.
    """
    found = []
    for part in text.split(","):
        sides = part.lower().split("x")
        if len(sides) != 2 or not all(side.strip().isdigit() and int(side) > 0 for side in sides):
            raise BadInput(f"{part!r} is no shape; out x in is expected, such as 4096x14336")
        found.append((int(sides[0]), int(sides[1])))
    return found


def layout_named(text: str) -> Layout:
    """ "two" or "pivoted".

    Raises
    ------
    BadInput
        If it is neither.
    """
    if text == "two":
        return "two"
    if text == "pivoted":
        return "pivoted"
    raise BadInput(f"--layout is {text}; two or pivoted is expected")


@contextmanager
def stages() -> Iterator[Progress]:
    """A bar for each stage, one after the other; without a terminal a line now and then in the log.

    The log is on stderr with `--verbose`, and nowhere without.
    """
    if not sys.stderr.isatty():
        yield _Lines()
        return
    with ExitStack() as stack:
        current: list[tuple[str, Progress]] = []

        def tick(stage: str, done: int, total: int) -> None:
            if not current or current[-1][0] != stage:
                stack.close()
                move = stack.enter_context(progress(stage))
                current.append((stage, lambda _, done, total: move(done, total)))
            current[-1][1](stage, done, total)

        yield tick


class _Lines:
    """Seconds since the start, the stage and how far it is, at most every `EVERY_S` seconds."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last >= EVERY_S:
            self._last = now
            log.info("%.0f s: %s, %d of %d", now - self._start, stage, done, total)
