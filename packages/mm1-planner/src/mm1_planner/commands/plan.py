"""`mm1-planner plan`."""

from __future__ import annotations

from typing import Annotated

import typer

from mfi_command import BadInput
from mfi_command.cli import Report, Seed, command, progress
from mm1_planner.commands.options import Customers, TimeColumn, app


@command(
    app,
    examples=[
        'mm1-planner plan --arrival-rate 10 --service exp:0.3 --slo "p99_wait<0.5"',
        'mm1-planner plan --arrival-rate 7200/min --arrivals gamma:2 --service 350ms --slo "p99_sojourn<4"',
        'mm1-planner plan --trace log.csv --service "0.1 + 0.02*Tokens" --slo "p99_wait<0.5" -o plan.html',
        "mm1-planner plan --arrival-rate 10 --gpu L4=0.8:exp:0.9 --gpu H100=4.5:exp:0.2 "
        '--slo "p99_wait<0.5, mean_sojourn<1"',
    ],
)
def plan(
    slo: Annotated[
        list[str], typer.Option(help="Promise: p99_wait<0.5, p99.9_sojourn<2; several are kept together.")
    ],
    service: Annotated[
        str | None, typer.Option(help="Seconds, a law such as exp:0.5, or an expression over columns.")
    ] = None,
    arrival_rate: Annotated[str | None, typer.Option(help="Arrivals: 120, 120/s or 7200/min.")] = None,
    arrivals: Annotated[
        str, typer.Option(help="poisson, det, gamma:CV, lognormal:CV or mmpp:PEAK:SHARE:SECONDS.")
    ] = "poisson",
    trace: Annotated[str | None, typer.Option(help="CSV, JSONL or benchmark file instead of a rate.")] = None,
    time_column: TimeColumn = None,
    part: Annotated[int | None, typer.Option(help="Which benchmark of a GuideLLM file, from 1.")] = None,
    gpu: Annotated[
        list[str] | None, typer.Option(help="NAME=PRICE_PER_HOUR:SERVICE, once for each kind; instead.")
    ] = None,
    places: Annotated[int | None, typer.Option(help="Most requests waiting; more are turned away.")] = None,
    patience: Annotated[
        str | None, typer.Option(help="Mean time after which a waiting request gives up.")
    ] = None,
    min_servers: Annotated[int, typer.Option(help="Where the search begins.")] = 1,
    max_servers: Annotated[int, typer.Option(help="Where the search ends.")] = 10_000,
    customers: Customers = None,
    cost_per_server_hour: Annotated[float | None, typer.Option(help="Price, in any currency.")] = None,
    seed: Seed = 0,
) -> Report:
    """The fewest servers that keep every promise, or INFEASIBLE and why (exit code 1)."""
    from mm1_planner.cost import plan_gpus
    from mm1_planner.inputs import parse_rate_per_s, parse_seconds
    from mm1_planner.planning import plan as compute
    from mm1_planner.plot import plot_plan
    from mm1_planner.tables import gpu_table, plan_tables
    from mm1_planner.trace import read_trace

    if (service is None) == (not gpu):
        raise BadInput("expected --service or --gpu, one of the two")
    if gpu and cost_per_server_hour is not None:
        raise BadInput("a --gpu has its own price: leave --cost-per-server-hour out")
    asked = {
        "slo": slo,
        "arrival_rate_per_s": None
        if arrival_rate is None
        else parse_rate_per_s("arrival rate", arrival_rate, idle=True),
        "arrivals": arrivals,
        "trace": None if trace is None else read_trace(trace, time_column=time_column, part=part),
        "places": places,
        "patience_s": None if patience is None else parse_seconds("patience", patience),
        "min_servers": min_servers,
        "max_servers": max_servers,
        "customers": customers,
        "seed": seed,
    }
    with progress("plan") as tick:
        if gpu:
            choice = plan_gpus(gpu, **asked, on_progress=tick)
            answer, first, more = choice.best, [gpu_table(choice)], {"gpus": choice.to_dict()}
        else:
            answer = compute(
                service=service,  # type: ignore[arg-type]
                cost_per_server_hour=cost_per_server_hour,
                on_progress=tick,
                **asked,  # type: ignore[arg-type]
            )
            first, more = [], {}
    return Report(
        answer.to_dict() | more,
        [*first, *plan_tables(answer)],
        answer.verdict.split("; ") if answer.feasible else [],
        draw=(lambda: plot_plan(answer)) if answer.curve else None,
        over_limit=None if answer.feasible else answer.verdict,
    )
