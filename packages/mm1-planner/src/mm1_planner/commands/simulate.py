"""`mm1-planner simulate`."""

from __future__ import annotations

from typing import Annotated

import typer

from mfi_command.cli import Report, Seed, command
from mm1_planner.commands.options import ArrivalRate, Capacity, Customers, Engine, Servers, Stream, app


@command(
    app,
    examples=[
        "mm1-planner simulate --arrival-rate 10 --service lognormal:0.3:2 --servers 5",
        "mm1-planner simulate --arrival-rate 10 --service det:0.3 -c 5 --engine simpy --customers 20000",
        "mm1-planner simulate --arrival-rate 2 --service 0.3 --arrivals mmpp:5:0.1:10s --precision 0.02",
    ],
)
def simulate(
    arrival_rate: ArrivalRate,
    service: Annotated[str, typer.Option(help="Seconds, exp:S, det:S, lognormal:S:CV or gamma:S:CV.")],
    servers: Servers = 1,
    capacity: Capacity = None,
    arrivals: Stream = "poisson",
    precision: Annotated[
        float, typer.Option(help="Half width of a mean's 95 % interval at which an automatic run ends.")
    ] = 0.01,
    customers: Customers = None,
    engine: Engine = "fast",
    seed: Seed = 0,
) -> Report:
    """Event simulation as long as its precision needs, with 95 % intervals by batches."""
    from mm1_planner.inputs import parse_rate_per_s
    from mm1_planner.simulation import simulate as run
    from mm1_planner.tables import simulation_notes, simulation_table

    simulation = run(
        arrival_rate_per_s=parse_rate_per_s("arrival rate", arrival_rate),
        service=service,
        servers=servers,
        capacity=capacity,
        arrivals=arrivals,
        precision=precision,
        customers=customers,
        engine=engine,
        seed=seed,
    )
    return Report(simulation.to_dict(), [simulation_table(simulation)], simulation_notes(simulation))
