"""How long predictions take: python packages/latency-predictor/benchmarks/speed.py"""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np

from latency_predictor import predict, predict_many

MANY = 100_000


def main() -> None:
    options = {"device": "H200", "stack": "cuda-graph"}
    predict("llama-3-8b", **options)  # the coefficients are read once
    taken = []
    for batch in range(1, 21):
        start = time.process_time()
        predict("llama-3-8b", batch=batch, **options)
        taken.append(time.process_time() - start)
    print(f"one prediction: {1e3 * statistics.median(taken):.1f} ms of processor time")
    generator = np.random.default_rng(0)
    sizes = {
        "batch": generator.integers(1, 257, MANY),
        "prompt": generator.integers(1, 8192, MANY),
        "output": generator.integers(1, 1024, MANY),
    }
    start, wall = time.process_time(), time.perf_counter()
    predict_many("llama-3-8b", **sizes, **options)
    print(
        f"{MANY} configurations: {time.process_time() - start:.2f} s of processor time,"
        f" {time.perf_counter() - wall:.2f} s on the clock; torch loaded: {'torch' in sys.modules}"
    )


if __name__ == "__main__":
    main()
