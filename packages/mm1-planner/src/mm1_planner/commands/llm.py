"""`mm1-planner llm`."""

from __future__ import annotations

from typing import Annotated

import typer

from mfi_command.cli import Report, Seed, command, progress
from mm1_planner.commands.options import app


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
    from mm1_planner.commands.planned import idle_llm_report
    from mm1_planner.inputs import parse_rate_per_s, parse_seconds
    from mm1_planner.llm.iteration import Replica
    from mm1_planner.llm.planning import plan_llm
    from mm1_planner.llm.slo import parse_llm_slo
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
    rate = None if arrival_rate is None else parse_rate_per_s("arrival rate", arrival_rate, idle=True)
    promises = [parse_llm_slo(each) for each in slo]
    if rate == 0:
        return idle_llm_report(1)
    with progress("replicas") as tick:
        answer = plan_llm(
            arrival_rate_per_s=rate,
            prompt_tokens=prompt,
            output_tokens=output_tokens,
            trace=trace,
            replica=replica,
            slos=promises,
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
