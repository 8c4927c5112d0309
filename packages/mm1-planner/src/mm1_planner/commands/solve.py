"""`mm1-planner solve`."""

from __future__ import annotations

from typing import Annotated

import typer

from mfi_command.cli import Report, Seed, command
from mm1_planner.commands.options import ArrivalRate, Capacity, Customers, Engine, Servers, app


@command(
    app,
    examples=[
        "mm1-planner solve --arrival-rate 5 --service-rate 8",
        "mm1-planner solve --arrival-rate 120/s --service-rate 10 --servers 14 --json",
        "mm1-planner solve --arrival-rate 5 --service-rate 3 --servers 2 --capacity 10",
        "mm1-planner solve --arrival-rate 12 --service-rate 1 --servers 10 --patience 30s",
    ],
)
def solve(
    arrival_rate: ArrivalRate,
    service_rate: Annotated[str, typer.Option(help="Services of one busy server: 8, 8/s or 480/min.")],
    servers: Servers = 1,
    capacity: Capacity = None,
    scv: Annotated[float, typer.Option(help="Variance/mean² of the service time: 1 exponential.")] = 1.0,
    patience: Annotated[
        str | None, typer.Option(help="Mean patience of a waiting customer, who then leaves: 30, 30s, 2min.")
    ] = None,
    customers: Customers = None,
    engine: Engine = "fast",
    seed: Seed = 0,
) -> Report:
    """Means and percentiles of wait and sojourn, by formula and by simulation."""
    from mm1_planner.inputs import parse_rate_per_s, parse_seconds
    from mm1_planner.solution import solve as compute
    from mm1_planner.tables import solution_table

    solution = compute(
        arrival_rate_per_s=parse_rate_per_s("arrival rate", arrival_rate),
        service_rate_per_s=parse_rate_per_s("service rate", service_rate),
        servers=servers,
        capacity=capacity,
        scv=scv,
        patience_s=None if patience is None else parse_seconds("patience", patience),
        customers=customers,
        engine=engine,
        seed=seed,
    )
    return Report(solution.to_dict(), [solution_table(solution)], [solution.verdict])
