"""The command: `latency-gate check gate.toml`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mfi_command.cli import Report, Table, command, create_app, entry_point, progress

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
        "latency-gate check --base origin/main --output comment.md",
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
    base: Annotated[
        str | None, typer.Option("--base", metavar="REF", help="Show the change since this git revision.")
    ] = None,
) -> Report:
    """Predict each model's latency and fail where one is over its budget."""
    from latency_gate.gatefile import read_gate
    from latency_gate.revision import at_revision
    from latency_gate.verdict import changes, judge
    from mfi_command import BadInput

    entries = read_gate(gate)
    with progress("predict") as tick:
        verdicts = judge(entries, cautious=cautious, on_progress=tick)
    change: dict[str, float] = {}
    notes = []
    if base is not None:
        with at_revision(gate, base) as before:
            try:
                change = changes(verdicts, judge(read_gate(before))) if before else {}
            except BadInput as error:  # a pull request may be what repairs the file
                notes.append(f"no comparison, at {base} the gate could not be used: {error}")
    over = [verdict for verdict in verdicts if verdict.over]
    columns = ["model", "device", "batch", "prefill ms", "decode ms", "request ms", "from", "to", "verdict"]
    rows: list[list[object]] = [
        [
            verdict.entry.name,
            verdict.entry.device,
            verdict.entry.batch,
            *(1e3 * value for value in (verdict.prefill_s, verdict.decode_step_s, verdict.total_s)),
            *(1e3 * value for value in (verdict.low_s, verdict.high_s)),
            "; ".join(verdict.over) or "within budget",
        ]
        for verdict in verdicts
    ]
    if base is not None:
        columns.append(f"since {base}")
        for row, verdict in zip(rows, verdicts, strict=True):
            ratio = change.get(verdict.entry.name)
            row.append("new" if ratio is None else f"{ratio:+.1%}")
    return Report(
        fields={
            "models": [
                {**verdict.to_dict(), "change": change.get(verdict.entry.name)} for verdict in verdicts
            ],
            "over_budget": len(over),
        },
        tables=[Table("Latency", columns, rows)],
        notes=[*notes, f"{len(over)} of {len(verdicts)} models over budget"],
        over_limit="; ".join(f"{verdict.entry.name}: {', '.join(verdict.over)}" for verdict in over) or None,
    )


main = entry_point(app)
