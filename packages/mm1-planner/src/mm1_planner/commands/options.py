"""The application, and the options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from mfi_command.cli import create_app

app = create_app(
    "mm1-planner",
    distribution="mm1-planner",
    summary="How many replicas keep the p99 promised: queueing formulas beside simulation.",
)

ArrivalRate = Annotated[str, typer.Option("--arrival-rate", help="Arrivals: 120, 120/s or 7200/min.")]
Servers = Annotated[int, typer.Option("--servers", "-c", help="Number of servers, one queue.")]
Capacity = Annotated[int | None, typer.Option(help="Most customers in the system; unlimited by default.")]
Customers = Annotated[int | None, typer.Option(help="Customers simulated; automatic by default.")]
Engine = Annotated[str, typer.Option(help="'fast' (numba) or 'simpy' (to be read); they agree.")]
TimeColumn = Annotated[str | None, typer.Option(help="Column of the arrival times; recognised by default.")]
Stream = Annotated[
    str,
    typer.Option(
        "--arrivals", help="poisson, det, gamma:CV, lognormal:CV or mmpp:PEAK:SHARE:SECONDS (bursts)."
    ),
]
