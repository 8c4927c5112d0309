"""The closed form of continuous batching against its simulation, over scenarios drawn at random.

    python packages/mm1-planner/benchmarks/llm_closed_form.py --scenarios 200

Lengths are fixed, geometric or lognormal (cv 0.3 to 1.5), means 50 to 2,000 and 20 to 400 tokens; iterations
of 3 to 30 ms; loads of 0.1 to 0.9 of the capacity; every fourth replica has a batch limit that matters.
Prints the errors of the mean ITL and TTFT, and of the rate at which a mean ITL or TTFT target is just kept.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
from pathlib import Path

import numpy as np

from mm1_planner import Replica, llm_answer, simulate_llm

REQUESTS = 60_000
WARMUP = 6_000


def tokens(rng: np.random.Generator, kind: str, mean: float, count: int) -> np.ndarray:
    if kind == "fixed":
        return np.full(count, round(mean))
    if kind == "geometric":
        return rng.geometric(1 / mean, count)
    sigma = np.sqrt(np.log1p(rng.uniform(0.3, 1.5) ** 2))
    return np.maximum(np.round(mean * np.exp(sigma * rng.standard_normal(count) - sigma**2 / 2)), 1).astype(
        int
    )


Requests = tuple[np.ndarray, np.ndarray, Replica]


def scenario(number: int, seed: int) -> tuple[str, Requests, float, np.ndarray]:
    """Kind; prompts, outputs and replica; load; gaps at rate 1."""
    rng = np.random.default_rng([seed, number])
    kind = ("fixed", "geometric", "lognormal")[number % 3]
    prompts = tokens(rng, kind, rng.uniform(50, 2000), REQUESTS)
    outputs = tokens(rng, kind, rng.uniform(20, 400), REQUESTS)
    replica = Replica(
        alpha_s=rng.uniform(0.003, 0.03),
        beta_s=10 ** rng.uniform(-5, -3.5),
        gamma_s=10 ** rng.uniform(-8.5, -7),
        delta_s=10 ** rng.uniform(-5, -4),
        max_batch=int(rng.integers(8, 64)) if number % 4 == 3 else 256,
    )
    return kind, (prompts, outputs, replica), rng.uniform(0.1, 0.9), rng.exponential(1.0, REQUESTS)


def simulated(
    rate: float, prompts: np.ndarray, outputs: np.ndarray, replica: Replica, gaps: np.ndarray
) -> tuple[float, float]:
    run = simulate_llm(np.cumsum(gaps) / rate, prompts, outputs, replica, warmup=WARMUP)
    return run.itl["mean_itl_s"], run.estimates["mean_ttft_s"].value


def highest_rate(value, target: float, capacity: float) -> float:
    """The largest rate below the capacity at which value(rate) is at most the target, by bisection."""
    low, high = 0.01 * capacity, 0.995 * capacity
    if value(low) > target:
        return low
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if value(middle) <= target else (low, middle)
    return low


def capacity_error(number: int, capacity: float, requests: Requests, gaps: np.ndarray) -> float:
    """Formula over simulation - 1, of the rate that keeps what 0.6 of the capacity gives."""
    place = number % 2
    name = ("mean_itl_s", "mean_ttft_s")[place]
    target = simulated(0.6 * capacity, *requests, gaps)[place]
    kept = highest_rate(lambda rate: getattr(llm_answer(rate, *requests), name), target, capacity)
    return kept / (0.6 * capacity) - 1


def study(scenarios: int, seed: int, capacities: int) -> dict[str, object]:
    errors, slo, declared = [], [], []
    for number in range(scenarios):
        kind, requests, load, gaps = scenario(number, seed)
        capacity = llm_answer(1e-9, *requests).capacity_per_s
        answer = llm_answer(load * capacity, *requests)
        itl, ttft = simulated(load * capacity, *requests, gaps)
        errors.append((answer.mean_itl_s / itl - 1, answer.mean_ttft_s / ttft - 1))
        declared.append(answer.declared)
        line = f"{number} {kind} load {load:.2f} prefill {answer.prefill_share:.2f}"
        print(f"{line} itl {errors[-1][0]:+.3f} ttft {errors[-1][1]:+.3f}", flush=True)
        if number < capacities:
            slo.append(capacity_error(number, capacity, requests, gaps))
    absolute = np.abs(np.array(errors))
    inside = absolute[np.array(declared)]
    found = {
        "scenarios": scenarios,
        "declared": len(inside),
        "declared_itl_worst": float(inside[:, 0].max()),
        "declared_ttft_worst": float(inside[:, 1].max()),
        "itl_median": float(np.median(absolute[:, 0])),
        "itl_p95": float(np.quantile(absolute[:, 0], 0.95)),
        "itl_worst": float(absolute[:, 0].max()),
        "ttft_median": float(np.median(absolute[:, 1])),
        "ttft_p95": float(np.quantile(absolute[:, 1], 0.95)),
        "ttft_worst": float(absolute[:, 1].max()),
    }
    if slo:
        found |= {
            "capacity_median": float(np.median(np.abs(slo))),
            "capacity_worst": float(np.abs(slo).max()),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scenarios", type=int, default=200)
    parser.add_argument(
        "--capacities", type=int, default=40, help="scenarios whose rate at a target is compared too"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSON file for the result")
    arguments = parser.parse_args()
    found = study(arguments.scenarios, arguments.seed, arguments.capacities) | {
        "seed": arguments.seed,
        "requests": REQUESTS,
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    text = json.dumps(found, indent=1) + "\n"
    print(text)
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
