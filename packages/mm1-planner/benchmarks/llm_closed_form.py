"""The closed form of continuous batching against its simulation, over scenarios drawn at random.

    python packages/mm1-planner/benchmarks/llm_closed_form.py simulate choosing
    python packages/mm1-planner/benchmarks/llm_closed_form.py simulate held-out
    python packages/mm1-planner/benchmarks/llm_closed_form.py simulate full-batch
    python packages/mm1-planner/benchmarks/llm_closed_form.py judge

Lengths are fixed, geometric or lognormal (cv 0.3 to 1.5), means 50 to 2,000 and 20 to 400 tokens; iterations
of 3 to 30 ms; loads of 0.1 to 0.9 of the capacity; every fourth replica has a batch limit that matters.
`simulate` appends a row a scenario to `results/llm_scenarios.jsonl` and resumes there: mean ITL and TTFT by
replications until they are known to 0.5 and 2.5 %, or there are enough. `judge` needs seconds: errors of the
means, and of the rate at which a mean ITL or TTFT target is just kept (the target is what the simulation
gives at a rate drawn, so that this rate is the simulation's answer). The closed form was made while looking
at scenarios of `choosing`; `held-out` is for judging only. One of its ITLs was 5 % off, with a batch that is
often full; the doubt that `declared` has had since then is judged by `full-batch`: of fresh scenarios those
with a batch limit that matters, at a load above a half.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import platform
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from scipy.special import stdtrit

from mm1_planner import LlmAnswer, Replica, llm_answer, simulate_llm

SETS = {"choosing": 0, "held-out": 20261129, "full-batch": 20261130}
SCENARIOS = 200
LIMITED = 4
"""Of so many scenarios one has a batch limit that matters, the last."""
REQUESTS, WARMUP = 60_000, 6_000
FEWEST, MOST = 3, 20
ITL_PRECISION, TTFT_PRECISION = 0.005, 0.025
SLO_LOADS = 0.4, 0.85
STEP = 0.02
RESULTS = Path(__file__).parent / "results"
Requests = tuple[np.ndarray, np.ndarray, Replica]


def tokens(rng: np.random.Generator, kind: str, mean: float, count: int) -> np.ndarray:
    if kind == "fixed":
        return np.full(count, round(mean))
    if kind == "geometric":
        return rng.geometric(1 / mean, count)
    sigma = np.sqrt(np.log1p(rng.uniform(0.3, 1.5) ** 2))
    return np.maximum(np.round(mean * np.exp(sigma * rng.standard_normal(count) - sigma**2 / 2)), 1).astype(
        int
    )


def scenario(number: int, seed: int) -> tuple[str, Requests, float]:
    """Kind; prompts, outputs and replica; load."""
    rng = np.random.default_rng([seed, number])
    kind = ("fixed", "geometric", "lognormal")[number % 3]
    prompts = tokens(rng, kind, rng.uniform(50, 2000), REQUESTS)
    outputs = tokens(rng, kind, rng.uniform(20, 400), REQUESTS)
    replica = Replica(
        alpha_s=rng.uniform(0.003, 0.03),
        beta_s=10 ** rng.uniform(-5, -3.5),
        gamma_s=10 ** rng.uniform(-8.5, -7),
        delta_s=10 ** rng.uniform(-5, -4),
        max_batch=int(rng.integers(8, 64)) if number % LIMITED == LIMITED - 1 else 256,
    )
    return kind, (prompts, outputs, replica), rng.uniform(0.5 if seed == SETS["full-batch"] else 0.1, 0.9)


def simulated(rate_per_s: float, requests: Requests, rng: np.random.Generator) -> dict[str, float]:
    """Mean ITL and TTFT with the half widths of their 95 % intervals, relative."""
    prompts, outputs, replica = requests
    means: list[tuple[float, float]] = []
    while True:
        order, gaps = rng.permutation(REQUESTS), rng.exponential(1.0, REQUESTS)
        # The sample's own moments are what the closed form gets, so the gaps have exactly this rate too.
        arrivals = np.cumsum(gaps) / (gaps.mean() * rate_per_s)
        run = simulate_llm(arrivals, prompts[order], outputs[order], replica, warmup=WARMUP)
        means.append((run.itl["mean_itl_s"], run.estimates["mean_ttft_s"].value))
        if len(means) < FEWEST:
            continue
        itl, ttft = np.mean(means, axis=0)
        reach = stdtrit(len(means) - 1, 0.975) / np.sqrt(len(means)) * np.std(means, axis=0, ddof=1)
        wide = reach[0] / itl, reach[1] / ttft
        if len(means) == MOST or (wide[0] < ITL_PRECISION and wide[1] < TTFT_PRECISION):
            return {"itl_s": itl, "itl_half": wide[0], "ttft_s": ttft, "ttft_half": wide[1],
                    "replications": len(means)}  # fmt: skip


def simulate(which: str, rows: Path, minutes: float, first: int) -> None:
    seed, until = SETS[which], time.monotonic() + 60 * minutes
    numbers = [*range(first, SCENARIOS), *range(first)]
    if which == "full-batch":
        numbers = [number for number in numbers if number % LIMITED == LIMITED - 1]
    for number in numbers:
        # Read again each time: another process may work from another number on.
        if number in {row["number"] for row in read(rows) if row["set"] == which}:
            continue
        if time.monotonic() > until:
            return
        kind, requests, load = scenario(number, seed)
        rng = np.random.default_rng([seed, number, 1])
        capacity = llm_answer(1e-9, *requests).capacity_per_s
        row: dict[str, object] = {"set": which, "number": number, "kind": kind}
        for name, share in (("at_load", load), ("at_slo", rng.uniform(*SLO_LOADS))):
            rate = share * capacity
            row[name] = {"rate_per_s": rate} | simulated(rate, requests, rng)
        with rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(which, number, flush=True)


def read(rows: Path) -> list[dict]:
    if not rows.exists():
        return []
    return [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]


def kept_rate(value: Callable[[float], float], target: float, rate: float, capacity: float) -> float:
    """The rate at which value(rate), which grows, is the target: from `rate` in steps, then by a chord."""
    low = high = rate
    at_low = at_high = value(rate)
    step = STEP if at_high < target else -STEP
    while (at_high < target) if step > 0 else (at_low > target):
        if step > 0:
            low, at_low = high, at_high
            high = min(high * (1 + step), 0.995 * capacity)
            at_high = value(high)
            if high == low:
                return high
        else:
            high, at_high = low, at_low
            low *= 1 + step
            at_low = value(low)
    if at_high == at_low:
        return low
    return low + (high - low) * (target - at_low) / (at_high - at_low)


def judged(row: dict) -> dict[str, object]:
    """Errors of the closed form in one scenario."""
    _, requests, _ = scenario(row["number"], SETS[row["set"]])
    found: dict[str, object] = {"number": row["number"], "kind": row["kind"]}
    at = row["at_load"]
    answer = llm_answer(at["rate_per_s"], *requests)
    name = ("itl_s", "ttft_s")[row["number"] % 2]

    def mean(rate: float) -> float:
        asked: LlmAnswer = llm_answer(rate, *requests)
        return float(getattr(asked, f"mean_{name}"))

    slo = row["at_slo"]
    kept = kept_rate(mean, slo[name], slo["rate_per_s"], answer.capacity_per_s)
    return found | {
        "load": round(at["rate_per_s"] / answer.capacity_per_s, 3),
        "prefill": round(answer.prefill_share, 3),
        "itl_error": answer.mean_itl_s / at["itl_s"] - 1,
        "itl_half": at["itl_half"],
        "ttft_error": answer.mean_ttft_s / at["ttft_s"] - 1,
        "ttft_half": at["ttft_half"],
        "declared": answer.declared,
        "slo": name,
        "capacity_error": kept / slo["rate_per_s"] - 1,
        "capacity_declared": llm_answer(slo["rate_per_s"], *requests).declared,
    }


def summary(rows: list[dict[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {"scenarios": len(rows), "declared": sum(bool(r["declared"]) for r in rows)}
    for what, bar, flag in (("itl", 0.03, "declared"), ("ttft", 0.15, "declared"),
                            ("capacity", 0.10, "capacity_declared")):  # fmt: skip
        for name, chosen in (("", rows), ("declared_", [r for r in rows if r[flag]])):
            errors = np.abs([r[f"{what}_error"] for r in chosen])
            found |= {
                f"{name}{what}_median": float(np.median(errors)),
                f"{name}{what}_p95": float(np.quantile(errors, 0.95)),
                f"{name}{what}_worst": float(errors.max()),
                f"{name}{what}_beyond_{bar:g}": int((errors > bar).sum()),
            }
        if what != "capacity":
            halves = np.array([r[f"{what}_half"] for r in rows])
            found |= {f"{what}_half_p95": float(np.quantile(halves, 0.95)),
                      f"{what}_half_worst": float(halves.max())}  # fmt: skip
    return found


def judge(rows: Path, processes: int) -> dict[str, object]:
    result: dict[str, object] = {
        "command": "llm_closed_form.py judge",
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "device": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "mm1_planner": importlib.metadata.version("mm1-planner"),
    }
    simulations = read(rows)
    for which in SETS:
        # Two processes may have made the same scenario at once; the first row of each counts.
        once = {row["number"]: row for row in reversed(simulations) if row["set"] == which}
        with ProcessPoolExecutor(processes) as pool:
            errors = list(pool.map(judged, [once[number] for number in sorted(once)]))
        if not errors:
            continue
        told = summary(errors)
        print(which, json.dumps(told, indent=1))
        result[which] = {"seed": SETS[which]} | told | {"rows": errors}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("step", choices=("simulate", "judge"))
    parser.add_argument("which", nargs="?", choices=tuple(SETS), default="held-out")
    parser.add_argument("--rows", type=Path, default=RESULTS / "llm_scenarios.jsonl")
    parser.add_argument("--first", type=int, default=0, help="number of the scenario to begin with")
    parser.add_argument("--minutes", type=float, default=1e9, help="simulate only so long; run it again")
    parser.add_argument("--processes", type=int, default=1, help="of the judgement")
    parser.add_argument("--output", type=Path, help="JSON file for the judgement")
    arguments = parser.parse_args()
    if arguments.step == "simulate":
        simulate(arguments.which, arguments.rows, arguments.minutes, arguments.first)
        return
    found = judge(arguments.rows, arguments.processes)
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
