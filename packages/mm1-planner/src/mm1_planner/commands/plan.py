"""`mm1-planner plan`."""

from __future__ import annotations

from typing import Annotated, Any

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
        'mm1-planner plan --class "chat=40/s;exp:0.3;p99_wait<0.5" --class "batch=2/s;det:5;p90_wait<60" '
        "--discipline priority",
        "mm1-planner plan --arrival-rate 40 --service llm:alpha=12ms,beta=100us,delta=30us "
        '--prompt geometric:500 --output-tokens geometric:150 --slo "p99_ttft<0.3, p99_itl<60ms"',
    ],
)
def plan(
    slo: Annotated[
        list[str] | None,
        typer.Option(help="Promise: p99_wait<0.5, p99.9_sojourn<2; several are kept together."),
    ] = None,
    service: Annotated[
        str | None,
        typer.Option(help="Seconds, a law such as exp:0.5, an expression over columns, or llm:alpha=...,..."),
    ] = None,
    arrival_rate: Annotated[str | None, typer.Option(help="Arrivals: 120, 120/s or 7200/min.")] = None,
    arrivals: Annotated[
        str, typer.Option(help="poisson, det, gamma:CV, lognormal:CV or mmpp:PEAK:SHARE:SECONDS.")
    ] = "poisson",
    profile: Annotated[
        str | None,
        typer.Option(help="TIME=RATE points such as 0s=2/s,30min=20/s, or a CSV of them; instead."),
    ] = None,
    trace: Annotated[str | None, typer.Option(help="CSV, JSONL or benchmark file instead of a rate.")] = None,
    time_column: TimeColumn = None,
    prompt_column: Annotated[
        str | None, typer.Option(help="Column of the prompt tokens; recognised by default.")
    ] = None,
    output_column: Annotated[
        str | None, typer.Option(help="Column of the generated tokens; recognised by default.")
    ] = None,
    part: Annotated[int | None, typer.Option(help="Which benchmark of a GuideLLM file, from 1.")] = None,
    gpu: Annotated[
        list[str] | None, typer.Option(help="NAME=PRICE_PER_HOUR:SERVICE, once for each kind; instead.")
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", help="NAME=RATE;SERVICE;SLO, once for each kind of traffic."),
    ] = None,
    discipline: Annotated[str, typer.Option(help="Of classes: fcfs or priority.")] = "fcfs",
    prompt: Annotated[str | None, typer.Option(help="Prompt tokens of an llm: service.")] = None,
    output_tokens: Annotated[str | None, typer.Option(help="Generated tokens, likewise.")] = None,
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
    from mm1_planner.commands.planned import (
        classes_report,
        gpus_report,
        llm_report,
        refuse,
        servers_report,
    )
    from mm1_planner.inputs import parse_rate_per_s, parse_seconds
    from mm1_planner.profiles import parse_profile
    from mm1_planner.replicas import is_replica
    from mm1_planner.trace import read_trace

    if sum((service is not None, bool(gpu), bool(classes))) != 1:
        raise BadInput("expected --service, --gpu or --class, one of the three")
    traffic = {"--arrival-rate": arrival_rate, "--profile": profile, "--trace": trace}
    limits = {"--places": places, "--patience": patience}
    if classes:
        refuse({**traffic, **limits, "--slo": slo}, "do not go with --class, which holds its own traffic")
        options = {
            "discipline": discipline,
            "max_servers": max_servers,
            "customers": customers,
            "cost_per_server_hour": cost_per_server_hour,
            "seed": seed,
        }
        with progress("plan") as tick:
            return classes_report(classes, options, tick)
    if sum(each is not None for each in traffic.values()) != 1:
        raise BadInput("expected --arrival-rate, --profile or --trace, one of the three")
    if not slo:
        raise BadInput('no promise to keep: give --slo such as "p99_wait<0.5"')
    columns = {"time_column": time_column, "prompt_column": prompt_column, "output_column": output_column}
    recorded = None if trace is None else read_trace(trace, part=part, **columns)
    rate = None if arrival_rate is None else parse_rate_per_s("arrival rate", arrival_rate, idle=True)
    if is_replica(service):
        refuse({**limits, "--profile": profile}, "do not go with an llm: service")
        asked: dict[str, Any] = {
            "slos": [part for each in slo for part in each.split(",")],
            "arrival_rate_per_s": rate,
            "prompt_tokens": prompt,
            "output_tokens": output_tokens,
            "trace": recorded,
            "max_replicas": max_servers,
            "seed": seed,
        }
        with progress("plan") as tick:
            return llm_report(asked, service or "", cost_per_server_hour, min_servers, tick)
    refuse({"--prompt": prompt, "--output-tokens": output_tokens}, "need an llm: service")
    asked = {
        "slo": slo,
        "arrival_rate_per_s": rate,
        "arrivals": arrivals,
        "trace": recorded if profile is None else parse_profile(profile).draw(arrivals=arrivals, seed=seed),
        "places": places,
        "patience_s": None if patience is None else parse_seconds("patience", patience),
        "min_servers": min_servers,
        "max_servers": max_servers,
        "customers": customers,
        "seed": seed,
    }
    with progress("plan") as tick:
        if gpu:
            refuse(
                {"--cost-per-server-hour": cost_per_server_hour}, "does not go with --gpu, which has prices"
            )
            return gpus_report(asked, gpu, tick)
        return servers_report(asked, service or "", cost_per_server_hour, tick)
