"""Runs the rows of the acceptance table and tells what each measured."""

from __future__ import annotations

import fnmatch
import importlib
import pkgutil
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from mfi import checks
from mfi.checks.plan import PLAN
from mfi.checks.registry import ROWS, Measured, Row, Skip

NOT_BUILT = "not built yet"


@dataclass(frozen=True)
class Verdict:
    """One row's answer; `passed` is None when it was skipped, and `detail` then says why."""

    id: str
    title: str
    measured: Measured
    bound: str
    unit: str
    passed: bool | None
    detail: str
    skipped: bool
    elapsed_s: float

    def to_dict(self) -> dict[str, Any]:
        """The row as `--json` prints it."""
        return asdict(self)


def load_rows() -> dict[str, Row]:
    """Import every module of checks, which registers its rows.

    Raises
    ------
    RuntimeError
        If a row is registered that the table does not have.
    """
    for module in pkgutil.iter_modules(checks.__path__):
        importlib.import_module(f"{checks.__name__}.{module.name}")
    if strangers := sorted(ROWS.keys() - PLAN.keys()):
        raise RuntimeError(f"checks without a row in the acceptance table: {', '.join(strangers)}")
    return ROWS


def select(patterns: Iterable[str]) -> list[str]:
    """The ids that match any of the glob patterns, in the table's order; all of them without a pattern."""
    wanted = list(patterns) or ["*"]
    return [id for id in PLAN if any(fnmatch.fnmatchcase(id, pattern) for pattern in wanted)]


def run_row(row: Row) -> Verdict:
    """Compute one row; an exception is a failure of the row, never of the run."""
    started = time.perf_counter()

    def verdict(measured: Measured, passed: bool | None, detail: str) -> Verdict:
        elapsed_s = time.perf_counter() - started
        return Verdict(
            row.id, row.title, measured, row.bound, row.unit, passed, detail, passed is None, elapsed_s
        )

    try:
        outcome = row.compute()
    except Skip as reason:
        return verdict(None, None, str(reason))
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return verdict(None, False, f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})")
    return verdict(outcome.measured, bool(outcome.passed), outcome.detail)


def verify(
    patterns: Iterable[str] = (), *, on_progress: Callable[[int, int], None] | None = None
) -> list[Verdict]:
    """Run the rows that match; rows without code are skipped as not built yet."""
    rows = load_rows()
    ids = select(patterns)
    verdicts = []
    for done, id in enumerate(ids):
        if on_progress:
            on_progress(done, len(ids))
        if id in rows:
            verdicts.append(run_row(rows[id]))
        else:
            verdicts.append(Verdict(id, PLAN[id], None, "", "", None, NOT_BUILT, True, 0.0))
    return verdicts
