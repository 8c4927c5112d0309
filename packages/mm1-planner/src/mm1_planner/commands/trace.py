"""`mm1-planner trace`."""

from __future__ import annotations

from typing import Annotated

import typer

from mfi_command.cli import Report, Table, command
from mm1_planner.commands.options import TimeColumn, app


@command(
    app,
    examples=[
        "mm1-planner trace requests.csv",
        "mm1-planner trace log.csv.gz --time-column arrived",
        "mm1-planner trace benchmarks.json --part 3 --output trace.png",
    ],
)
def trace(
    path: Annotated[
        str,
        typer.Argument(metavar="FILE", help="CSV with a header, .jsonl, or a benchmark's .json; .gz or not."),
    ],
    time_column: TimeColumn = None,
    part: Annotated[int | None, typer.Option(help="Which benchmark of a GuideLLM file, from 1.")] = None,
) -> Report:
    """Rate and burstiness of recorded arrivals, and whether a Poisson or renewal answer may be trusted."""
    from mm1_planner.dispersion import burstiness
    from mm1_planner.plot import plot_burstiness
    from mm1_planner.trace import read_trace

    recorded = read_trace(path, time_column=time_column, part=part)
    found = burstiness(recorded.arrivals_s)
    summary = {
        "requests": recorded.requests,
        "duration_s": recorded.duration_s,
        "was_sorted": recorded.was_sorted,
        "columns": list(recorded.texts),
    }
    overview = [[recorded.requests, recorded.duration_s, found.rate_per_s, found.gap_cv, found.trust]]
    scales = [[scale.window_s, scale.index, scale.poisson_high] for scale in found.dispersion]
    lags = [[lag.lag, lag.value, lag.bound] for lag in found.autocorrelation]
    rates = [[rate.start_s, rate.rate_per_s] for rate in found.rates]
    return Report(
        summary | found.to_dict(),
        [
            Table("Arrivals", ["requests", "duration (s)", "rate (1/s)", "gap CV", "trust"], overview),
            Table("Dispersion of counts", ["window (s)", "variance/mean", "Poisson stays below"], scales),
            Table("Autocorrelation of gaps", ["lag", "correlation", "independent gaps stay below"], lags),
            Table("Rate by window", ["from (s)", "rate (1/s)"], rates),
        ],
        [
            found.verdict,
            *([] if recorded.was_sorted else ["the rows were out of order and have been sorted"]),
        ],
        draw=lambda: plot_burstiness(found),
    )
