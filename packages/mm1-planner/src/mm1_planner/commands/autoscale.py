"""`mm1-planner autoscale`."""

from __future__ import annotations

from typing import Annotated

import typer

from mfi_command.cli import Report, Seed, Table, command, progress
from mm1_planner.commands.options import TimeColumn, app


@command(
    app,
    examples=[
        'mm1-planner autoscale --profile "0s=2/s,30min=20/s,60min=2/s" --service exp:0.5 '
        '--slo "p99_wait<0.5" --metric concurrency --target 0.7 --startup 100s',
        'mm1-planner autoscale --trace log.csv --service "0.05 + 0.02*Tokens" --slo "p95_wait<2" '
        "--scaler keda --metric queue --target 2 --max-replicas 80 --output autoscale.html",
        'mm1-planner autoscale --profile "0s=5/s,10min=40/s,20min=5/s" --service llm:alpha=12ms,beta=100us,'
        "delta=30us,max_batch=64 --prompt geometric:500 --output-tokens geometric:150 "
        '--slo "p99_ttft<1" --metric concurrency --target 24 --startup 100s',
    ],
)
def autoscale(
    service: Annotated[
        str,
        typer.Option(
            help="Seconds, a law such as exp:0.5, an expression over the trace's columns, "
            "or llm:alpha=12ms,...: replicas that batch."
        ),
    ],
    slo: Annotated[
        str,
        typer.Option(
            help="Promise on a percentile: p99_wait<0.5, p95_sojourn<2; with llm: p99_ttft<1, tpot, e2e."
        ),
    ],
    metric: Annotated[str, typer.Option(help="queue, concurrency, arrivals or utilization.")],
    target: Annotated[float, typer.Option(help="Of the metric, for one replica.")],
    profile: Annotated[
        str | None, typer.Option(help="TIME=RATE points such as 0s=2/s,30min=20/s, or a CSV of them.")
    ] = None,
    trace: Annotated[str | None, typer.Option(help="Recorded arrivals instead of a profile.")] = None,
    arrivals: Annotated[str, typer.Option(help="Around the profile: poisson, gamma:CV, ...")] = "poisson",
    time_column: TimeColumn = None,
    scaler: Annotated[str, typer.Option(help="hpa or keda.")] = "hpa",
    startup: Annotated[str, typer.Option(help="From the decision until a new replica serves.")] = "60s",
    min_replicas: Annotated[int, typer.Option(help="Fewest; 0 with KEDA.")] = 1,
    max_replicas: Annotated[int, typer.Option(help="Most.")] = 100,
    sync: Annotated[str, typer.Option(help="The HPA decides so often.")] = "15s",
    polling: Annotated[str, typer.Option(help="KEDA reads its metric so often.")] = "30s",
    cooldown: Annotated[str, typer.Option(help="KEDA goes to 0 after so long without anything.")] = "5min",
    tolerance: Annotated[float, typer.Option(help="Share of the target that changes nothing.")] = 0.1,
    up_window: Annotated[str, typer.Option(help="Stabilization upwards.")] = "0",
    down_window: Annotated[str, typer.Option(help="Stabilization downwards.")] = "5min",
    up_policy: Annotated[
        list[str] | None, typer.Option(help="KIND:VALUE:SECONDS, such as pods:4:15 or percent:100:15.")
    ] = None,
    down_policy: Annotated[list[str] | None, typer.Option(help="Likewise downwards.")] = None,
    prompt: Annotated[
        str | None, typer.Option(help="With llm: prompt tokens: 512, geometric:MEAN or lognormal:MEAN:CV.")
    ] = None,
    output_tokens: Annotated[str | None, typer.Option(help="With llm: generated tokens, likewise.")] = None,
    slots: Annotated[int, typer.Option(help="Requests that a replica serves at a time.")] = 1,
    window: Annotated[str | None, typer.Option(help="Length of the schedule's entries.")] = None,
    seed: Seed = 0,
) -> Report:
    """An autoscaler simulated: who was served in time, replica-hours, flapping, the schedule that fixes it.

    Exit code 1 if neither the scaler nor the scaler with a schedule keeps the promise.
    """
    from mm1_planner.autoscaling.laws import DOWN, UP, Behavior, Scaler, parse_policy
    from mm1_planner.autoscaling.plot import plot_autoscaling
    from mm1_planner.autoscaling.study import study_autoscaling
    from mm1_planner.inputs import parse_seconds

    def seconds(name: str, text: str) -> float:
        return 0.0 if text.strip().rstrip("smin") == "0" else parse_seconds(name, text)

    ups = tuple(map(parse_policy, up_policy)) if up_policy else UP.policies
    downs = tuple(map(parse_policy, down_policy)) if down_policy else DOWN.policies
    law = Scaler(
        metric,
        target,
        least=min_replicas,
        most=max_replicas,
        kind=scaler,
        sync_s=seconds("sync", sync),
        polling_s=seconds("polling", polling),
        cooldown_s=seconds("cooldown", cooldown),
        tolerance=tolerance,
        startup_s=seconds("startup", startup),
        up=Behavior(seconds("up window", up_window), ups),
        down=Behavior(seconds("down window", down_window), downs),
    )
    with progress("schedules") as tick:
        study = study_autoscaling(
            scaler=law,
            service=service,
            slo=slo,
            profile=profile,
            trace=trace,
            arrivals=arrivals,
            time_column=time_column,
            slots=slots,
            prompt_tokens=prompt,
            output_tokens=output_tokens,
            window_s=None if window is None else parse_seconds("window", window),
            seed=seed,
            on_progress=tick,
        )
    runs = (("fixed", study.fixed), ("scaler", study.reactive), ("scaler and schedule", study.scheduled))
    rows = [
        [name, run.held, run.attainment, run.measured_s, run.replica_hours, run.mean_replicas, run.peak,
         run.changes, run.reversals, run.unfinished]
        for name, run in runs
        if run is not None
    ]  # fmt: skip
    columns = ["", "held", "in time", "measured (s)", "replica-hours", "mean", "peak", "changes",
               "turned back", "unfinished"]  # fmt: skip
    entries = [[entry.start_s, entry.replicas] for entry in study.schedule]
    held = study.reactive.held or study.scheduled.held
    return Report(
        study.to_dict(),
        [Table(study.slo, columns, rows), Table("Schedule", ["from (s)", "least replicas"], entries)],
        study.verdict.split("; "),
        draw=lambda: plot_autoscaling(study),
        over_limit=None if held else study.verdict,
    )
