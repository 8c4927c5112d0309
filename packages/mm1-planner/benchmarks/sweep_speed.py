"""How long ten thousand configurations take by formula.

    python packages/mm1-planner/benchmarks/sweep_speed.py

Loads of 0.3 to 0.99 on 1 to 2,000 servers. Wall time and this process's own time, the best of five: on a
machine that does other work besides only the second says something.
"""

from __future__ import annotations

import time

import numpy as np

from mm1_planner import sweep_formula

COUNT = 10_000


def main() -> None:
    rng = np.random.default_rng(0)
    servers = rng.integers(1, 2000, COUNT)
    mean_s = rng.uniform(0.01, 1, COUNT)
    rate_per_s = rng.uniform(0.3, 0.99, COUNT) * servers / mean_s
    walls, owns = [], []
    for _ in range(5):
        wall, own = time.perf_counter(), time.process_time()
        sweep_formula(rate_per_s, mean_s, servers)
        walls.append(time.perf_counter() - wall)
        owns.append(time.process_time() - own)
    print(f"{COUNT} configurations: {min(walls):.3f} s, {min(owns):.3f} s of this process")


if __name__ == "__main__":
    main()
