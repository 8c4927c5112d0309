"""The command `mm1-planner`."""

from __future__ import annotations

from typing import Annotated

import typer

from mfi_command.cli import Report, Seed, Table, command, create_app, entry_point, progress

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


@command(
    app,
    examples=[
        "mm1-planner simulate --arrival-rate 10 --service lognormal:0.3:2 --servers 5",
        "mm1-planner simulate --arrival-rate 10 --service det:0.3 -c 5 --engine simpy --customers 20000",
    ],
)
def simulate(
    arrival_rate: ArrivalRate,
    service: Annotated[str, typer.Option(help="Seconds, exp:S, det:S, lognormal:S:CV or gamma:S:CV.")],
    servers: Servers = 1,
    capacity: Capacity = None,
    customers: Customers = None,
    engine: Engine = "fast",
    seed: Seed = 0,
) -> Report:
    """Event simulation of Poisson arrivals, with 95 % intervals by batches."""
    from mm1_planner.inputs import parse_rate_per_s
    from mm1_planner.simulation import simulate as run
    from mm1_planner.tables import simulation_notes, simulation_table

    simulation = run(
        arrival_rate_per_s=parse_rate_per_s("arrival rate", arrival_rate),
        service=service,
        servers=servers,
        capacity=capacity,
        customers=customers,
        engine=engine,
        seed=seed,
    )
    return Report(simulation.to_dict(), [simulation_table(simulation)], simulation_notes(simulation))


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


@command(
    app,
    examples=[
        "mm1-planner llm --arrival-rate 40 --prompt geometric:500 --output-tokens geometric:150 --alpha 12ms "
        '--beta 100us --delta 30us --slo "p99_ttft<0.3"',
        "mm1-planner llm --arrival-rate 600/min --prompt lognormal:800:1.2 --output-tokens 200 --alpha 20ms "
        '--slo "p99_ttft<1" --slo "p99_itl<50ms" --max-batch 64 --kv-tokens 400000 --json',
        'mm1-planner llm --trace requests.jsonl --alpha 20ms --beta 100us --delta 60us --slo "p99_ttft<1"',
    ],
)
def llm(
    alpha: Annotated[str, typer.Option(help="Fixed time of an iteration, such as 12ms.")],
    slo: Annotated[
        list[str], typer.Option(help="Promise: p99_ttft<0.5, mean_itl<30ms; several are kept together.")
    ],
    arrival_rate: Annotated[str | None, typer.Option(help="Arrivals: 120, 120/s or 7200/min.")] = None,
    prompt: Annotated[
        str | None, typer.Option(help="Prompt tokens: 512, geometric:MEAN or lognormal:MEAN:CV.")
    ] = None,
    output_tokens: Annotated[str | None, typer.Option(help="Generated tokens, likewise.")] = None,
    trace: Annotated[
        str | None, typer.Option(help="CSV or JSONL of requests with token counts, instead.")
    ] = None,
    beta: Annotated[str, typer.Option(help="Time per decoding sequence of an iteration.")] = "0",
    gamma: Annotated[str, typer.Option(help="Time per token of context of the decoding sequences.")] = "0",
    delta: Annotated[str, typer.Option(help="Time per prompt token.")] = "0",
    max_batch: Annotated[int, typer.Option(help="Most sequences running at once in a replica.")] = 256,
    token_budget: Annotated[int, typer.Option(help="Most tokens in an iteration.")] = 8192,
    kv_tokens: Annotated[int, typer.Option(help="Tokens that the KV cache of a replica holds.")] = 10**9,
    routing: Annotated[str, typer.Option(help="round-robin, random or least-requests.")] = "round-robin",
    max_replicas: Annotated[int, typer.Option(help="Where the search ends.")] = 1000,
    seed: Seed = 0,
) -> Report:
    """The fewest replicas of a batching LLM server for promises on TTFT and ITL (exit code 1 if none)."""
    from mm1_planner.inputs import parse_rate_per_s, parse_seconds
    from mm1_planner.llm.iteration import Replica
    from mm1_planner.llm.planning import plan_llm
    from mm1_planner.tables import llm_tables

    def seconds(name: str, text: str) -> float:
        return 0.0 if text.strip() == "0" else parse_seconds(name, text)

    replica = Replica(
        seconds("alpha", alpha),
        seconds("beta", beta),
        seconds("gamma", gamma),
        seconds("delta", delta),
        max_batch=max_batch,
        token_budget=token_budget,
        kv_tokens=kv_tokens,
    )
    with progress("replicas") as tick:
        answer = plan_llm(
            arrival_rate_per_s=None
            if arrival_rate is None
            else parse_rate_per_s("arrival rate", arrival_rate),
            prompt_tokens=prompt,
            output_tokens=output_tokens,
            trace=trace,
            replica=replica,
            slos=slo,
            routing=routing,
            max_replicas=max_replicas,
            seed=seed,
            on_progress=tick,
        )
    return Report(
        answer.to_dict(),
        llm_tables(answer),
        answer.verdict.split("; ") if answer.feasible else [],
        over_limit=None if answer.feasible else answer.verdict,
    )


main = entry_point(app)
