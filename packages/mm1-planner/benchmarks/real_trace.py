"""Plans on a recorded trace: by formula, by simulated Poisson arrivals of the same rate, and by replay.

    python packages/mm1-planner/benchmarks/real_trace.py AzureLLMInferenceTrace_conv.csv

The trace is the Azure LLM inference trace of 2023, conversations (Azure/AzurePublicDataset, CC-BY-4.0), or
any file with `ContextTokens` and `GeneratedTokens`. Servers take one request at a time; replicas batch.

A trace is one sample without a steady state: no longer run settles what another day would ask for. What the
replay owes to where it begins is printed: the fewest servers where it starts at each of eight points and
comes round.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from mm1_planner import Replica, Trace, burstiness, parse_slo, parse_slos, plan, plan_llm, read_trace
from mm1_planner.search import fewest
from mm1_planner.workload import replayed, service_of_trace

SERVICE = "0.05 + 0.02*GeneratedTokens"
PROMISES = ("p90_wait<0.5", "p99_wait<0.5", "p99_wait<5", "p99.9_wait<5", "mean_wait<0.05", "p99_sojourn<15")
REPLICA = Replica(0.012, 1e-4, 0.0, 3e-5)
SMALL = Replica(0.02, 4e-4, 0.0, 1e-4)
TOKENS = (("p99_ttft<1",), ("p99_ttft<0.5", "p99_itl<0.15"), ("p99_e2e<30",))


def servers(trace: Trace) -> list[dict[str, object]]:
    rows = []
    for slo in PROMISES:
        answer = plan(trace=trace, service=SERVICE, slo=slo)
        rows.append(
            {
                "service": SERVICE,
                "slo": slo,
                "formula": answer.analytic_servers,
                "poisson": answer.poisson_servers,
                "replay": answer.replay_servers,
                "settled": answer.settled,
                "replay_by_shifted_start": _shifted(answer.replay_servers or 1, trace, slo),
                "at_poisson_of_limit": _at(answer.poisson_servers, trace, slo),
            }
        )
        print(rows[-1])
    return rows


def _shifted(guess: int, trace: Trace, slo: str) -> list[int | None]:
    """The fewest servers in replays that start at eight points of the trace."""
    whole = replayed(trace, service_of_trace(SERVICE, trace, seed=0)[1], seed=0)
    goals, found = parse_slos(slo), []
    for start in np.linspace(0, trace.requests, 8, endpoint=False).astype(int):
        turned = replace(
            whole,
            gaps_s=np.roll(whole.gaps_s, -start),
            services_s=np.roll(whole.services_s, -start),
            tried={},
            counted={},
        )
        found.append(fewest(partial(turned.keeps, slos=goals), low=1, guess=guess, most=10_000))
    return found


def _at(count: int | None, trace: Trace, slo: str) -> float | None:
    """The promise in the replay with the servers that Poisson arrivals ask for, over its limit."""
    if count is None:
        return None
    goal = parse_slo(slo)
    workload = replayed(trace, service_of_trace(SERVICE, trace, seed=0)[1], seed=0)
    return workload.estimate(count, goal).value / goal.limit_s


def replicas(trace: Trace) -> list[dict[str, object]]:
    prompts, outputs = trace.lengths()
    rows = []
    for name, replica in (("large", REPLICA), ("small", SMALL)):
        for slos in TOKENS:
            poisson = plan_llm(
                replica=replica, slos=slos, arrival_rate_per_s=trace.rate_per_s,
                prompt_tokens=prompts, output_tokens=outputs,
            )  # fmt: skip
            replay = plan_llm(replica=replica, slos=slos, trace=trace)
            rows.append(
                {
                    "replica": name,
                    "slo": ", ".join(slos),
                    "poisson": poisson.replicas,
                    "replay": replay.replicas,
                    "reason": replay.reason,
                }
            )
            print(rows[-1])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    trace = read_trace(options.trace)
    found = burstiness(trace.arrivals_s)
    result = {
        "command": f"real_trace.py {options.trace.name}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "python": platform.python_version(),
        "requests": trace.requests,
        "rate_per_s": found.rate_per_s,
        "gap_cv": found.gap_cv,
        "largest_dispersion": max(scale.index for scale in found.dispersion),
        "trust": found.trust,
        "verdict": found.verdict,
        "servers": servers(trace),
        "large": vars(REPLICA) | {"table": None},
        "small": vars(SMALL) | {"table": None},
        "replicas": replicas(trace),
    }
    print(json.dumps({key: value for key, value in result.items() if not isinstance(value, list)}, indent=2))
    if options.output:
        options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
