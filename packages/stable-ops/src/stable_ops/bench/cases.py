"""What is measured: operators, sizes, formats, and how many bytes an operator has to move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mfi_command import BadInput

ROW_OPS = ("softmax", "log_softmax", "logsumexp", "layer_norm", "rms_norm")
ELEMENTWISE = ("gelu", "silu", "swiglu")
SAMPLING = ("top_p",)
OPS = (*ROW_OPS, *ELEMENTWISE, *SAMPLING)
DTYPES = ("float32", "float16", "bfloat16")
# Judged against the speed of reading alone: their output is a number a row.
READ_ONLY = ("logsumexp", "top_p")
VOCABULARY = 128_256
NUCLEUS = 0.9


@dataclass(frozen=True)
class Point:
    """One operator on one shape: `rows` rows of `length` numbers."""

    op: str
    rows: int
    length: int
    dtype: str

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, length)."""
        return self.rows, self.length


def plan(
    ops: Sequence[str], lengths: Sequence[int], dtypes: Sequence[str], *, elements: int
) -> tuple[Point, ...]:
    """The points of a run: rows of each length that together hold about `elements` numbers.

    An elementwise operator does not know how long a row is: one point, of the first length of at least 4096,
    stands for all. Sampling takes float32 logits of 128,256 tokens for 64, 128 and 512 rows.

    Raises
    ------
    BadInput
        An unknown operator or dtype, a length below 1, or one that is longer than `elements`.
    """
    _require(ops, OPS, "operator")
    _require(dtypes, DTYPES, "dtype")
    for length in lengths:
        if not 1 <= length <= elements:
            raise BadInput(f"a row of {length} of {elements} elements: pass lengths from 1 to {elements}")
    middle = next((n for n in sorted(lengths) if n >= 4096), max(lengths, default=1))
    points = []
    for dtype in dtypes:
        for op in ops:
            if op not in SAMPLING:
                for length in lengths if op in ROW_OPS else (middle,):
                    points.append(Point(op, elements // length, length, dtype))
    for op in ops:
        if op in SAMPLING:
            rows = [n for n in (64, 128, 512) if n * VOCABULARY <= max(elements, 64 * VOCABULARY)]
            points += [Point(op, n, VOCABULARY, "float32") for n in rows]
    return tuple(points)


def _require(given: Sequence[str], known: Sequence[str], what: str) -> None:
    for name in given:
        if name not in known:
            raise BadInput(f"{what} {name!r} is not measured: use one of {', '.join(known)}")
