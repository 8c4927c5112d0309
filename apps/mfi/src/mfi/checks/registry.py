"""Which rows exist, and what one answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Measured = float | str | Mapping[str, object] | None


@dataclass(frozen=True)
class Outcome:
    """What a row measured, whether the whole bound holds, and the numbers behind it in a sentence."""

    measured: Measured
    passed: bool
    detail: str = ""


class Skip(Exception):
    """Raised by a row that this machine cannot compute; the message says why."""


@dataclass(frozen=True)
class Row:
    """One line of the acceptance table and the function that computes it."""

    id: str
    title: str
    bound: str
    unit: str
    compute: Callable[[], Outcome]


ROWS: dict[str, Row] = {}


def check(
    id: str, *, title: str, bound: str, unit: str = ""
) -> Callable[[Callable[[], Outcome]], Callable[[], Outcome]]:
    """Register a function as the row `id`; two functions for one row is an error of ours."""

    def register(compute: Callable[[], Outcome]) -> Callable[[], Outcome]:
        if id in ROWS:
            raise RuntimeError(f"two checks claim the row {id}")
        ROWS[id] = Row(id, title, bound, unit, compute)
        return compute

    return register
