"""Share of the intervals that hold the exact value of M/M/1, by load, metric and confidence.

python benchmarks/interval_coverage.py [--runs 200]
"""

from __future__ import annotations

import argparse
import math

from mm1_planner import METRICS, MM1, simulate

LOADS = (0.5, 0.8, 0.9, 0.95)
LEVELS = (0.95, 0.99)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    runs = parser.parse_args().runs
    for load in LOADS:
        answer = MM1(load, 1.0).answer()
        held = {(metric, level): 0 for metric in METRICS for level in LEVELS}
        seen = dict.fromkeys(METRICS, 0)
        for replication in range(runs):
            run = simulate(arrival_rate_per_s=load, service=1.0, seed=1, replication=replication)
            for metric in METRICS:
                seen[metric] += not math.isnan(run.estimates[metric].interval()[0])
                for level in LEVELS:
                    low, high = run.estimates[metric].interval(level)
                    held[metric, level] += low <= getattr(answer, metric) <= high
        print(f"load {load:g}, {runs} runs of {run.customers + run.warmup} customers")
        for metric in METRICS:
            shares = [f"{level:.0%}: {held[metric, level] / max(seen[metric], 1):6.1%}" for level in LEVELS]
            print(f"  {metric:15s} {'   '.join(shares)}   of {seen[metric]}")


if __name__ == "__main__":
    main()
