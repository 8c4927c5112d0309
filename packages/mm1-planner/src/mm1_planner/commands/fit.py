"""`mm1-planner fit`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from mfi_command import BadInput
from mfi_command.cli import Report, Table, command
from mm1_planner.commands.options import app


@command(
    app,
    examples=[
        "mm1-planner fit --prometheus http://localhost:9090 --duration 2h --step 30s",
        "mm1-planner fit first.txt second.txt third.txt --every 60s",
    ],
)
def fit(
    scrapes: Annotated[
        list[str] | None, typer.Argument(metavar="SCRAPE...", help="Files of what /metrics answered.")
    ] = None,
    every: Annotated[str, typer.Option(help="Time between the scrapes.")] = "30s",
    prometheus: Annotated[str | None, typer.Option(help="A Prometheus server instead of files.")] = None,
    duration: Annotated[str, typer.Option(help="How far back to look in it.")] = "1h",
    step: Annotated[str, typer.Option(help="Shortest window; shorter ones are joined.")] = "15s",
    selector: Annotated[str, typer.Option(help='Labels: model_name="llama".')] = "",
    kv_tokens: Annotated[
        int | None, typer.Option(help="Tokens that a replica's KV cache holds, if vLLM does not tell.")
    ] = None,
) -> Report:
    """The traffic and the iteration time of a running vLLM, from its metrics, ready for the llm command."""
    from mm1_planner.inputs import parse_seconds, whole
    from mm1_planner.metrics.fit import fit_windows
    from mm1_planner.metrics.series import era_of, windows_of
    from mm1_planner.metrics.sources import query_prometheus, read_scrapes

    if (prometheus is None) == (not scrapes):
        raise BadInput("expected scrapes or --prometheus, one of the two")
    least_s = parse_seconds("step", step) if prometheus is not None else 0.0
    if prometheus is not None:
        snapshots = query_prometheus(
            prometheus,
            end_s=time.time(),
            duration_s=parse_seconds("duration", duration),
            selector=selector,
        )
    else:
        snapshots = read_scrapes(scrapes or [], parse_seconds("every", every))
    cache = None if kv_tokens is None else float(whole("kv_tokens", kv_tokens, least=2, largest=10**12))
    found = fit_windows(windows_of(snapshots, least_s=least_s), era=era_of(snapshots), cache_tokens=cache)
    traffic = [
        ["requests/s", found.arrival_rate_per_s],
        ["prompt tokens", found.mean_prompt_tokens],
        ["output tokens", found.mean_output_tokens],
        ["mean wait (s)", found.mean_wait_s],
        ["mean TTFT (s)", found.mean_ttft_s],
        ["mean ITL (s)", found.mean_itl_s],
        ["mean E2E (s)", found.mean_e2e_s],
    ]
    model = [[each.name, each.value, each.low, each.high] for each in found.coefficients]
    told = (
        f"{found.windows} windows of {found.replicas} replicas, names of vLLM {found.era}: "
        f"{found.used} fitted, {found.idle} idle, "
        f"{found.incomplete} incomplete, {found.resets} counters began anew"
    )
    notes = [told, *(f"warning: {each}" for each in found.warnings)]
    if model:
        notes.append(f"R2 {found.r2:.4g}, error {found.relative_error:.2%} of the mean ITL")
    following = _following(found.to_dict(), {each.name: each.value for each in found.coefficients})
    if following is not None:
        notes.append(following)
    return Report(
        found.to_dict() | {"next": following},
        [
            Table("Traffic", ["", "value"], traffic),
            Table("Iteration", ["", "value", "95 % low", "95 % high"], model),
        ],
        notes,
    )


def _following(found: dict[str, object], model: dict[str, float]) -> str | None:
    """The command that plans with what was found."""
    numbers = [found["arrival_rate_per_s"], found["mean_prompt_tokens"], found["mean_output_tokens"]]
    if not model or not all(isinstance(each, float) and each > 0 for each in numbers):
        return None
    rate, prompt, output = numbers
    coefficients = " ".join(f"--{name.removesuffix('_s')} {value:.6g}" for name, value in model.items())
    return (
        f"mm1-planner llm --arrival-rate {rate:.4g} --prompt geometric:{prompt:.4g} "
        f'--output-tokens geometric:{output:.4g} {coefficients} --slo "p99_ttft<1"'
    )
