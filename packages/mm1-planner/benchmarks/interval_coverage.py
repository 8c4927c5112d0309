"""Share of the 95 % intervals that hold the exact value of M/M/1, with run lengths chosen automatically.

    python packages/mm1-planner/benchmarks/interval_coverage.py [--runs 1000] [--output coverage.json]

At each load the runs end by the rule of `simulate`, at the precision of the mean that LOADS names: less
than the 1 % of `simulate`, or 1,000 runs would take hours. A shorter run is the harder case, since a rule
that ends runs early ends them where they happen to look calm.
With 1,000 runs a true 95 % is seen between 93.6 % and 96.4 % in 95 of 100 studies.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import math
import sys
from pathlib import Path

from mm1_planner import METRICS, MM1, simulate

LOADS = {0.5: 0.02, 0.8: 0.03, 0.9: 0.03, 0.95: 0.03}


def study(load: float, precision: float, runs: int) -> dict[str, object]:
    answer = MM1(load, 1.0).answer()
    held, seen = dict.fromkeys(METRICS, 0), dict.fromkeys(METRICS, 0)
    customers = unfinished = 0
    for replication in range(runs):
        run = simulate(
            arrival_rate_per_s=load, service=1.0, precision=precision, seed=1, replication=replication
        )
        customers += run.customers
        unfinished += not run.converged
        for metric in METRICS:
            low, high = run.estimates[metric].interval()
            seen[metric] += not math.isnan(low)
            held[metric] += low <= getattr(answer, metric) <= high
    return {
        "load": load,
        "precision": precision,
        "runs": runs,
        "mean_customers": round(customers / runs),
        "not_converged": unfinished,
        "held": {metric: round(held[metric] / max(seen[metric], 1), 4) for metric in METRICS},
        "without_interval": {metric: runs - count for metric, count in seen.items() if count < runs},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--load", type=float, action="append", choices=LOADS, help="only these loads")
    parser.add_argument("--output", type=Path, help="JSON file for the result, written after each load")
    arguments = parser.parse_args()
    result: dict[str, object] = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "command": "python packages/mm1-planner/benchmarks/interval_coverage.py --runs "
        + str(arguments.runs),
        "versions": {name: importlib.metadata.version(name) for name in ("mm1-planner", "numba", "numpy")},
        "python": sys.version.split()[0],
    }
    found: list[dict[str, object]] = []
    for load in arguments.load or LOADS:
        found.append(study(load, LOADS[load], arguments.runs))
        print(json.dumps(found[-1], indent=1))
        if arguments.output:
            text = json.dumps(result | {"loads": found}, indent=1) + "\n"
            arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
