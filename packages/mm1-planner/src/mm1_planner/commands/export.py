"""`mm1-planner export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mfi_command import BadInput, atomic_file
from mfi_command.cli import Report, command
from mm1_planner.commands.options import app

KINDS = ("keda", "hpa", "prometheus-rules", "prometheus-operator")


@command(
    app,
    examples=[
        "mm1-planner export --to keda --name llm --metric queue --target 2 --max-replicas 20",
        "mm1-planner export --to keda --name llm --answer study.json --start 08:00 --file scaledobject.yaml",
        "mm1-planner export --to hpa --name llm --metric concurrency --target 6 --max-replicas 20",
        "mm1-planner export --to prometheus-rules --name llm --answer plan.json --file rules.yaml",
    ],
)
def export(
    to: Annotated[str, typer.Option(help="keda, hpa, prometheus-rules or prometheus-operator.")],
    name: Annotated[str, typer.Option(help="Of the Deployment that is scaled or watched.")],
    answer: Annotated[
        str | None, typer.Option(help="What plan, llm or autoscale printed with --json.")
    ] = None,
    namespace: Annotated[str, typer.Option(help="Of the Deployment.")] = "default",
    kind: Annotated[str, typer.Option(help="Deployment or StatefulSet.")] = "Deployment",
    metric: Annotated[str | None, typer.Option(help="queue, concurrency, arrivals or utilization.")] = None,
    target: Annotated[float | None, typer.Option(help="Of the metric, for one replica.")] = None,
    min_replicas: Annotated[int, typer.Option(help="Fewest.")] = 1,
    max_replicas: Annotated[int, typer.Option(help="Most.")] = 100,
    slo: Annotated[list[str] | None, typer.Option(help="Promise to watch: p99_ttft<0.5, p99_wait<1.")] = None,
    server: Annotated[
        str, typer.Option(help="Prometheus, as KEDA reaches it.")
    ] = "http://prometheus.monitoring.svc:9090",
    selector: Annotated[str, typer.Option(help='Labels in the queries: model_name="llama".')] = "",
    query: Annotated[str | None, typer.Option(help="Your own query, in sum over the replicas.")] = None,
    start: Annotated[str, typer.Option(help="Time of day at which the answer's schedule begins.")] = "00:00",
    timezone: Annotated[str, typer.Option(help="Of --start.")] = "UTC",
    file: Annotated[Path | None, typer.Option(help="Where to write; printed by default.")] = None,
) -> Report:
    """A manifest: KEDA's ScaledObject, an HPA, or Prometheus rules for the promise and the plan."""
    from mm1_planner.autoscaling.laws import Scaler
    from mm1_planner.export.answers import Saved, read_answer
    from mm1_planner.export.manifests import Target, hpa, keda
    from mm1_planner.export.rules import prometheus_rule, rules
    from mm1_planner.export.yaml import to_yaml
    from mm1_planner.slo import read_promise

    if to not in KINDS:
        raise BadInput(f"--to is {to!r}; expected one of {', '.join(KINDS)}")
    where = Target(name, namespace, kind, server, selector, query)
    saved = Saved() if answer is None else read_answer(answer)
    what = ("wait", "sojourn", "ttft", "itl", "tpot", "e2e")
    promises = tuple(read_promise(each, what, "p99_ttft<0.5") for each in slo or ()) or saved.promises
    if to in ("keda", "hpa"):
        given = None
        if metric is not None and target is not None:
            given = Scaler(
                metric, target, least=min_replicas, most=max_replicas,
                kind="keda" if to == "keda" else "hpa",
            )  # fmt: skip
        scaler = given or saved.scaler
        if scaler is None:
            raise BadInput("no autoscaler: give --metric and --target, or an --answer of autoscale")
        schedule = saved.schedule if to == "keda" else ()
        manifest = (
            hpa(where, scaler)
            if to == "hpa"
            else keda(where, scaler, schedule=schedule, start=start, timezone=timezone)
        )
    else:
        manifest = rules(where, promises, replicas=saved.replicas, rate_per_s=saved.rate_per_s)
        if to == "prometheus-operator":
            manifest = prometheus_rule(where, manifest)
    text = to_yaml(manifest)
    if file is None:
        return Report({"to": to, "manifest": manifest, "yaml": text}, [], [text.rstrip("\n")])
    with atomic_file(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Report({"to": to, "manifest": manifest, "yaml": text, "file": str(file)}, [], [f"wrote {file}"])
