"""What a command answers, before it is decided how to show it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Table:
    """A titled table; a cell is a number, a string, a truth value or None."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True)
class Report:
    """The answer of a command.

    Attributes
    ----------
    fields
        What `--json` prints beside the common fields.
    tables, notes
        What a person reads: tables, then one line each.
    draw
        Makes the figure; called only when a figure is asked for.
    over_limit
        A sentence when the answer is a finding over the limit the user set: exit code 1.
    page
        Makes the HTML page of a command that has one of its own, in place of the figure and the tables.
    """

    fields: Mapping[str, object]
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    draw: Callable[[], Figure] | None = None
    over_limit: str | None = None
    page: Callable[[], str] | None = None


def plain(value: object) -> Any:
    """The JSON form of `value`: arrays become lists, non-finite floats become null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, PathLike):
        return str(value)
    if hasattr(value, "to_dict"):
        return plain(value.to_dict())
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    raise TypeError(f"no JSON form for {type(value).__name__}")


def cell(value: object) -> str:
    """A table cell as text: four significant digits, whole numbers whole, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(cell(item) for item in value)
    return str(value)
