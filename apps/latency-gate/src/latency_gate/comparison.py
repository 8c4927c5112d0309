"""Each model of a gate file now and before, and which of them a change touched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from latency_predictor.gate import Entry, Verdict, judge

# What a table shows of an entry: the field of a verdict, its words, and its budget in the file.
QUANTITIES = (
    ("prefill_s", "prefill", "max_prefill_ms"),
    ("decode_step_s", "decode step", "max_decode_ms"),
    ("total_s", "request", "max_ms"),
)


@dataclass(frozen=True)
class Line:
    """One quantity of one model, milliseconds: before (None if new), now, and its budget (None without)."""

    model: str
    device: str
    quantity: str
    old_ms: float | None
    new_ms: float
    budget_ms: float | None

    @property
    def growth(self) -> float | None:
        """Relative to before."""
        return None if self.old_ms is None else self.new_ms / self.old_ms - 1


@dataclass(frozen=True)
class Compared:
    """Verdicts of the models that are judged, and how many were left out since nothing of them changed."""

    verdicts: tuple[Verdict, ...]
    lines: tuple[Line, ...]
    unchanged: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def over(self) -> list[Verdict]:
        """The verdicts over a limit."""
        return [verdict for verdict in self.verdicts if verdict.over]


def fingerprint(entry: Entry) -> str:
    """What decides an entry's prediction and its limits; the content of a configuration, not its path."""
    path = Path(entry.model)
    config = path / "config.json" if path.is_dir() else path
    content = config.read_bytes() if config.is_file() else entry.model.encode()
    rest = replace(entry, model="")
    return hashlib.sha256(content + repr(rest).encode()).hexdigest()


def compare(
    entries: Sequence[Entry],
    before: Sequence[Entry] | None,
    *,
    accepted: Mapping[str, Mapping[str, float]] | None = None,
    everything: bool = False,
    cautious: bool = False,
    predict: Callable[..., Any] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Compared:
    """Judge the entries that differ from `before`; all of them without it, or with `everything`.

    A limit on growth is held against the accepted values, and against the prediction of `before` where an
    entry has none.

    Parameters
    ----------
    entries, before
        Of the gate file now and at the base revision (None: there is no base).
    accepted
        From `latency_predictor.gate.read_accepted`.
    cautious
        Judge the upper ends of the intervals.
    predict
        `latency_predictor.predict` by default.
    """
    marks = {entry.name: fingerprint(entry) for entry in before or ()}
    changed = [
        entry
        for entry in entries
        if everything or before is None or marks.get(entry.name) != fingerprint(entry)
    ]
    names = {entry.name for entry in changed}
    old = judge([entry for entry in before or () if entry.name in names], predict=predict)
    past = {
        verdict.entry.name: {key: float(getattr(verdict, key)) for key, _, _ in QUANTITIES} for verdict in old
    }
    verdicts = judge(
        changed,
        accepted={**past, **(accepted or {})},
        cautious=cautious,
        predict=predict,
        on_progress=on_progress,
    )
    lines = [line for verdict in verdicts for line in _lines(verdict, past.get(verdict.entry.name))]
    here = {entry.name for entry in entries}
    return Compared(
        verdicts=tuple(verdicts),
        lines=tuple(lines),
        unchanged=tuple(entry.name for entry in entries if entry.name not in names),
        removed=tuple(sorted(set(marks) - here)),
    )


def _lines(verdict: Verdict, past: Mapping[str, float] | None) -> list[Line]:
    return [
        Line(
            model=verdict.entry.name,
            device=verdict.entry.device,
            quantity=words,
            old_ms=None if past is None else 1e3 * past[key],
            new_ms=1e3 * float(getattr(verdict, key)),
            budget_ms=verdict.entry.budgets.get(budget),
        )
        for key, words, budget in QUANTITIES
    ]
