"""`mm1-planner plan`."""

from __future__ import annotations

from typing import Annotated

import typer

from mfi_command.cli import Report, Seed, command, progress
from mm1_planner.commands.options import Customers, TimeColumn, app


@command(
    app,
    examples=[
        'mm1-planner plan --arrival-rate 10 --service exp:0.3 --slo "p99_wait<0.5"',
        'mm1-planner plan --arrival-rate 7200/min --service lognormal:350ms:2 --slo "p99_sojourn<4"',
        'mm1-planner plan --trace log.csv --service "0.1 + 0.02*Tokens" --slo "p99_wait<0.5" -o plan.html',
    ],
)
def plan(
    service: Annotated[
        str, typer.Option(help="Seconds, a law such as exp:0.5, or an expression over the trace's columns.")
    ],
    slo: Annotated[str, typer.Option(help="Promise: p99_wait<0.5, p99.9_sojourn<2, mean_wait<100ms.")],
    arrival_rate: Annotated[str | None, typer.Option(help="Arrivals: 120, 120/s or 7200/min.")] = None,
    trace: Annotated[str | None, typer.Option(help="CSV file of arrivals instead of a rate.")] = None,
    time_column: TimeColumn = None,
    max_servers: Annotated[int, typer.Option(help="Where the search ends.")] = 10_000,
    customers: Customers = None,
    cost_per_server_hour: Annotated[float | None, typer.Option(help="Price, in any currency.")] = None,
    seed: Seed = 0,
) -> Report:
    """The fewest servers that keep a promise, or INFEASIBLE and why (exit code 1)."""
    from mm1_planner.inputs import parse_rate_per_s
    from mm1_planner.planning import plan as compute
    from mm1_planner.plot import plot_plan
    from mm1_planner.tables import plan_tables

    rate = None if arrival_rate is None else parse_rate_per_s("arrival rate", arrival_rate)
    with progress("plan") as tick:
        answer = compute(
            service=service,
            slo=slo,
            arrival_rate_per_s=rate,
            trace=trace,
            time_column=time_column,
            max_servers=max_servers,
            customers=customers,
            cost_per_server_hour=cost_per_server_hour,
            seed=seed,
            on_progress=tick,
        )
    return Report(
        answer.to_dict(),
        plan_tables(answer),
        answer.verdict.split("; ") if answer.feasible else [],
        draw=(lambda: plot_plan(answer)) if answer.feasible else None,
        over_limit=None if answer.feasible else answer.verdict,
    )
