"""Peak memory and speed of a streamed run, and of the imports alone.

    python packages/mm1-planner/benchmarks/memory.py --customers 100000000 [--servers 16]

The run keeps counts by size and a block of customers, so that its memory does not depend on its length.
"""

from __future__ import annotations

import argparse
import resource
import time

from mm1_planner import MMc, simulate


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--customers", type=int, default=100_000_000)
    parser.add_argument("--servers", type=int, default=1)
    parser.add_argument("--load", type=float, default=0.8)
    arguments = parser.parse_args()
    rate = arguments.load * arguments.servers
    # Compiled, or read from its cache, before anything is measured; streamed as the long run is.
    simulate(arrival_rate_per_s=rate, service="exp:1", servers=arguments.servers, most_customers=100_000)
    before, start = peak_mib(), time.perf_counter()
    run = simulate(
        arrival_rate_per_s=rate, service="exp:1", servers=arguments.servers, customers=arguments.customers
    )
    elapsed = time.perf_counter() - start
    exact = MMc(rate, 1.0, arguments.servers).answer()
    print(
        f"{run.customers + run.warmup} customers in {elapsed:.1f} s, {run.customers / elapsed:.3g} a second"
    )
    print(f"peak memory {peak_mib():.0f} MiB, before the run {before:.0f} MiB")
    for metric in ("mean_wait_s", "p99_wait_s", "p999_wait_s"):
        low, high = run.estimates[metric].interval()
        found = f"{run.estimates[metric].value:.6g} [{low:.6g}, {high:.6g}]"
        print(f"{metric} {found}, exact {getattr(exact, metric):.6g}")


if __name__ == "__main__":
    main()
