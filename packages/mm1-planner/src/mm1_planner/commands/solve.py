"""`mm1-planner solve`."""

from __future__ import annotations

from typing import Annotated

import typer

from mfi_command import BadInput
from mfi_command.cli import Report, Seed, command
from mm1_planner.commands.options import Capacity, Customers, Engine, Servers, Stream, app


@command(
    app,
    examples=[
        "mm1-planner solve --arrival-rate 5 --service-rate 8",
        "mm1-planner solve --arrival-rate 120/s --service-rate 10 --servers 14 --json",
        "mm1-planner solve --arrival-rate 5 --service-rate 3 --servers 2 --capacity 10",
        "mm1-planner solve --arrival-rate 12 --service-rate 1 --servers 10 --patience 30s",
        "mm1-planner solve --arrival-rate 3 --service lognormal:200ms:1.2 --arrivals gamma:2 -c 1",
        "mm1-planner solve --arrival-rate 2 --service-rate 4 --arrivals mmpp:5:0.1:10s",
        "mm1-planner solve --class 3/s=exp:0.1 --class 2/s=exp:0.1",
        "mm1-planner solve --arrival-rate 4 --service-rate 5 --sharing",
        "mm1-planner solve --arrival-rate 40 --service exp:1s --speeds 10,9,8,7 --limited",
        "mm1-planner solve --arrival-rate 90 --batch-fixed 20ms --batch-each 5ms --batch-limit 16",
    ],
)
def solve(
    arrival_rate: Annotated[
        str | None, typer.Option("--arrival-rate", help="Arrivals: 120, 120/s or 7200/min.")
    ] = None,
    service_rate: Annotated[
        str | None, typer.Option(help="Services of one busy server: 8, 8/s or 480/min.")
    ] = None,
    servers: Servers = 1,
    capacity: Capacity = None,
    scv: Annotated[float, typer.Option(help="Variance/mean² of the service time: 1 exponential.")] = 1.0,
    service: Annotated[
        str | None,
        typer.Option(help="Instead of rate and scv: exp:S, det:S, lognormal:S:CV or gamma:S:CV."),
    ] = None,
    arrivals: Stream = "poisson",
    patience: Annotated[
        str | None, typer.Option(help="Mean patience of a waiting customer, who then leaves: 30, 30s, 2min.")
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", help="Priorities: RATE=SERVICE of each class, the most urgent first."),
    ] = None,
    sharing: Annotated[bool, typer.Option("--sharing", help="All are served at once, at speed 1/n.")] = False,
    speeds: Annotated[
        str | None, typer.Option(help="Speed of each while 1, 2, ... are served at once: 10,9,8.")
    ] = None,
    limited: Annotated[
        bool, typer.Option("--limited", help="With --speeds: no more at once; the others wait.")
    ] = False,
    batch_fixed: Annotated[str | None, typer.Option(help="Batches: seconds of any batch.")] = None,
    batch_each: Annotated[str, typer.Option(help="Batches: seconds more for each in it.")] = "0",
    batch_limit: Annotated[int | None, typer.Option(help="Largest batch; unlimited by default.")] = None,
    customers: Customers = None,
    engine: Engine = "fast",
    seed: Seed = 0,
) -> Report:
    """Means and percentiles of wait and sojourn, by formula and by simulation."""
    from mm1_planner import side_by_side
    from mm1_planner.inputs import parse_rate_per_s, parse_seconds
    from mm1_planner.solution import solve as compute
    from mm1_planner.tables import solution_table

    run: dict[str, object] = {"customers": customers, "engine": engine, "seed": seed}
    plain = servers == 1 and capacity is None and patience is None and arrivals == "poisson"
    kinds = [bool(classes), sharing or speeds is not None, batch_fixed is not None]
    if sum(kinds) > 1 or (sharing and speeds is not None):
        raise BadInput("give only one of --class, --sharing, --speeds and --batch-fixed")
    if classes:
        if arrival_rate is not None or service is not None or service_rate is not None:
            raise BadInput("--class has its own arrival rate and service; leave the others out")
        parsed = [side_by_side.parse_class(text) for text in classes]
        found = side_by_side.solve_priorities(parsed, servers=servers, **run)  # type: ignore[arg-type]
        return Report(
            {"classes": [each.to_dict() for each in found]},
            [solution_table(each) for each in found],
            [f"class {number}: {each.verdict}" for number, each in enumerate(found, 1)],
        )
    if arrival_rate is None:
        raise BadInput("no arrivals; give --arrival-rate, such as 120/s, or --class")
    rate = parse_rate_per_s("arrival rate", arrival_rate)
    per_s = None if service_rate is None else parse_rate_per_s("service rate", service_rate)
    if any(kinds) and not plain:
        raise BadInput("--sharing, --speeds and batches take Poisson arrivals, and no servers or limits")
    if batch_fixed is not None:
        times = [
            0.0 if text.strip() == "0" else parse_seconds("time of a batch", text)
            for text in (batch_fixed, batch_each)
        ]
        solution = side_by_side.solve_batches(
            arrival_rate_per_s=rate,
            fixed_s=times[0],
            each_s=times[1],
            largest=batch_limit,
            **run,  # type: ignore[arg-type]
        )
    elif any(kinds):
        work = service if per_s is None else 1 / per_s
        if work is None or (service is not None and per_s is not None):
            raise BadInput("give the work as --service-rate or as --service")
        solution = side_by_side.solve_shared(
            arrival_rate_per_s=rate,
            work=work,
            speeds=_speeds(speeds),
            limited=limited,
            **run,  # type: ignore[arg-type]
        )
    else:
        solution = compute(
            arrival_rate_per_s=rate,
            service_rate_per_s=per_s,
            servers=servers,
            capacity=capacity,
            scv=scv,
            service=service,
            arrivals=arrivals,
            patience_s=None if patience is None else parse_seconds("patience", patience),
            **run,  # type: ignore[arg-type]
        )
    return Report(solution.to_dict(), [solution_table(solution)], [solution.verdict])


def _speeds(text: str | None) -> list[float]:
    try:
        return [1.0] if text is None else [float(each) for each in text.split(",")]
    except ValueError:
        raise BadInput(f"speeds are {text!r}; expected numbers such as 10,9,8") from None
