"""What a command reads from the user and says while it works."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np

from mfi_command import BadInput
from mfi_command.progress import progress
from svd_compress.bench import Progress
from svd_compress.matrices import Float64


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


@contextmanager
def stages() -> Iterator[Progress]:
    """A bar for each stage, one after the other."""
    with ExitStack() as stack:
        current: list[tuple[str, Progress]] = []

        def tick(stage: str, done: int, total: int) -> None:
            if not current or current[-1][0] != stage:
                stack.close()
                move = stack.enter_context(progress(stage))
                current.append((stage, lambda _, done, total: move(done, total)))
            current[-1][1](stage, done, total)

        yield tick
