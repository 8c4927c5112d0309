"""`mm1-planner trace`."""

from __future__ import annotations

from typing import Annotated

import typer

from mfi_command.cli import Report, Table, command
from mm1_planner.commands.options import TimeColumn, app


@command(
    app, examples=["mm1-planner trace requests.csv", "mm1-planner trace log.csv.gz --time-column arrived"]
)
def trace(
    path: Annotated[str, typer.Argument(metavar="FILE", help="CSV with a header, or .jsonl; plain or .gz.")],
    time_column: TimeColumn = None,
) -> Report:
    """Rate and burstiness of recorded arrivals, and whether a Poisson answer may be trusted."""
    from mm1_planner.dispersion import burstiness
    from mm1_planner.trace import read_trace

    recorded = read_trace(path, time_column=time_column)
    found = burstiness(recorded.arrivals_s)
    summary = {
        "requests": recorded.requests,
        "duration_s": recorded.duration_s,
        "was_sorted": recorded.was_sorted,
        "columns": list(recorded.texts),
    }
    rows = [[scale.window_s, scale.index, scale.poisson_high] for scale in found.dispersion]
    overview = [[recorded.requests, recorded.duration_s, found.rate_per_s, found.gap_cv]]
    return Report(
        summary | found.to_dict(),
        [
            Table("Arrivals", ["requests", "duration (s)", "rate (1/s)", "gap CV"], overview),
            Table("Dispersion of counts", ["window (s)", "variance/mean", "Poisson stays below"], rows),
        ],
        [
            found.verdict,
            *([] if recorded.was_sorted else ["the rows were out of order and have been sorted"]),
        ],
    )
