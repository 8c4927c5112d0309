"""`latency-predictor check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latency_predictor.commands import options as o
from mfi_command.cli import Report, Table, command, progress

if TYPE_CHECKING:
    from latency_predictor.gate.verdict import Verdict


@command(
    o.app,
    examples=[
        "latency-predictor check gate.toml",
        "latency-predictor check gate.toml --accept",
        "latency-predictor check deploy/gate.toml --cautious --json",
    ],
)
def check(
    gate: Annotated[Path, typer.Argument(metavar="GATE", help="File with a [[model]] table each.")] = Path(
        "gate.toml"
    ),
    *,
    cautious: Annotated[
        bool, typer.Option("--cautious", help="Judge the upper end of the interval, not the estimate.")
    ] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="Take today's predictions as accepted, and judge budgets only.")
    ] = False,
) -> Report:
    """Predict the models of a gate file against their budgets and the values last accepted; exit code 1 if
    over.
    """
    from latency_predictor.gate import judge, read_accepted, read_gate, write_accepted
    from latency_predictor.gate.accepted import accepted_path

    entries, place = read_gate(gate), accepted_path(gate)
    before = {} if accept else read_accepted(place)
    with progress("predict") as tick:
        verdicts = judge(entries, accepted=before, cautious=cautious, on_progress=tick)
    if accept:
        write_accepted(place, verdicts)
    over = [verdict for verdict in verdicts if verdict.over]
    notes = [f"{len(over)} of {len(verdicts)} models over a limit"]
    notes.append(f"wrote {place}" if accept else f"{len(before)} accepted values in {place}")
    return Report(
        fields={"models": [verdict.to_dict() for verdict in verdicts], "over": len(over)},
        tables=[table(verdicts)],
        notes=notes,
        over_limit="; ".join(f"{verdict.entry.name}: {', '.join(verdict.over)}" for verdict in over) or None,
    )


def table(verdicts: list[Verdict]) -> Table:
    """Old, new and budget of each model."""
    columns = [
        "model",
        "device",
        "batch",
        "prefill ms",
        "decode ms",
        "request ms",
        "accepted ms",
        "growth",
        "budgets",
    ]
    rows = []
    for verdict in verdicts:
        growth = verdict.growth()
        rows.append(
            [
                verdict.entry.name,
                verdict.entry.device,
                verdict.entry.batch,
                *(1e3 * value for value in (verdict.prefill_s, verdict.decode_step_s, verdict.total_s)),
                None if verdict.accepted is None else 1e3 * verdict.accepted["total_s"],
                "new" if growth is None else f"{growth:+.1%}",
                "; ".join(verdict.over) or "kept",
            ]
        )
    return Table("Latency", [*columns[:-1], "verdict"], rows)
