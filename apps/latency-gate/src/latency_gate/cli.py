"""The command: `latency-gate check gate.toml`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mfi_command.cli import Report, Table, command, create_app, entry_point, progress

if TYPE_CHECKING:
    from latency_gate.comparison import Compared
    from latency_predictor.gate import Entry

app = create_app(
    "latency-gate",
    distribution="latency-gate",
    summary="Fails a pull request whose models would answer too slowly.",
)


@command(
    app,
    examples=[
        "latency-gate check",
        "latency-gate check deploy/gate.toml --cautious --json",
        "latency-gate check --base origin/main --output comment.md --sarif latency.sarif",
    ],
)
def check(
    gate: Annotated[Path, typer.Argument(metavar="GATE", help="File with a [[model]] table each.")] = Path(
        "gate.toml"
    ),
    *,
    base: Annotated[
        str | None, typer.Option("--base", metavar="REF", help="Judge what changed since this git revision.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Judge what did not change, too.")] = False,
    cautious: Annotated[
        bool, typer.Option("--cautious", help="Judge the upper end of the interval, not the estimate.")
    ] = False,
    sarif: Annotated[Path | None, typer.Option(metavar="FILE", help="Write findings in SARIF 2.1.0.")] = None,
) -> Report:
    """Predict the latency of the models that changed and fail where one is over a limit."""
    from latency_gate.comparison import compare
    from latency_predictor.gate import read_accepted, read_gate
    from latency_predictor.gate.accepted import accepted_path

    entries = read_gate(gate)
    with _before(gate, base) as (before, notes), progress("predict") as tick:
        found = compare(
            entries,
            before,
            accepted=read_accepted(accepted_path(gate)),
            everything=everything,
            cautious=cautious,
            on_progress=tick,
        )
    if sarif is not None:
        _write_sarif(sarif, gate, found)
    notes.append(f"{len(found.over)} of {len(found.verdicts)} models over a limit")
    notes += [f"{one.entry.name}: {sentence}" for one in found.over for sentence in one.over]
    if found.unchanged:
        notes.append(f"not judged, since nothing of them changed: {', '.join(found.unchanged)}")
    if found.removed:
        notes.append(f"no longer in the file: {', '.join(found.removed)}")
    return Report(
        fields={
            "models": [verdict.to_dict() for verdict in found.verdicts],
            "lines": [
                {"model": line.model, "quantity": line.quantity, "old_ms": line.old_ms, "new_ms": line.new_ms,
                 "budget_ms": line.budget_ms} for line in found.lines
            ],
            "unchanged": list(found.unchanged),
            "removed": list(found.removed),
            "over": len(found.over),
        },
        tables=[_table(found)],
        notes=notes,
        over_limit="; ".join(f"{one.entry.name}: {', '.join(one.over)}" for one in found.over) or None,
    )  # fmt: skip


@contextmanager
def _before(gate: Path, base: str | None) -> Iterator[tuple[list[Entry] | None, list[str]]]:
    """The entries at a revision, whose files are there inside the context; a note where there are none."""
    from latency_gate.revision import at_revision
    from latency_predictor.gate import read_gate
    from mfi_command import BadInput

    if base is None:
        yield None, []
        return
    with at_revision(gate, base) as place:
        if place is None:
            yield [], [f"at {base} there was no gate file: everything is new"]
            return
        try:
            found = read_gate(place)
        except BadInput as error:  # a pull request may be what repairs the file
            yield [], [f"no comparison, at {base} the gate could not be used: {error}"]
            return
        yield found, []


def _write_sarif(path: Path, gate: Path, found: Compared) -> None:
    from latency_gate.sarif import sarif
    from mfi_command import atomic_file

    with atomic_file(path) as beside:
        beside.write_text(json.dumps(sarif(gate, found.verdicts), indent=1) + "\n", encoding="utf-8")


def _table(found: Compared) -> Table:
    over = {verdict.entry.name: verdict.over for verdict in found.verdicts}
    rows: list[list[object]] = []
    for line in found.lines:
        growth = "new" if line.growth is None else f"{line.growth:+.1%}"
        late = line.budget_ms is not None and not line.new_ms <= line.budget_ms
        verdict = "over" if late else "kept" if line.budget_ms is not None else ""
        if line.quantity == "request" and over[line.model] and not late:
            verdict = "over another limit"
        rows.append(
            [
                line.model,
                line.device,
                line.quantity,
                line.old_ms,
                line.new_ms,
                growth,
                line.budget_ms,
                verdict,
            ]
        )
    columns = ["model", "device", "what", "old ms", "new ms", "change", "budget ms", "verdict"]
    return Table("Latency of what changed", columns, rows)


main = entry_point(app)
