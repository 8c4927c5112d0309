"""Print predictions beside measured rows: python packages/latency-predictor/benchmarks/accuracy.py
[--published CSV]

Without an argument, the committed H100 rows under eager, which the eager stack was fitted on (their
families left out: see the intervals in coefficients.toml). With one, opt_small_a100_published.csv (figures
of the SmoothQuant paper and repository, mit-han-lab/smoothquant c61476d7, MIT), which nothing was fitted on.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np

from latency_predictor import predict

RESULTS = Path(__file__).parent / "results" / "eager_h100.json"


def ours():
    for row in json.loads(RESULTS.read_text())["rows"]:
        yield row["model"], "H100", "eager", row["phase"], row["batch"], row["prompt"], row["latency_s"]


def published(path: Path):
    stacks = {"PyTorch/HF eager": "eager", "FasterTransformer": "cuda-graph"}
    with path.open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            stack = stacks[row["stack"]]
            sizes = int(float(row["batch"])), int(row["seq_len"])
            yield row["model"], "A100-80GB", stack, row["stage"], *sizes, float(row["latency_ms"]) / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--published", type=Path)
    options = parser.parse_args()
    errors: dict[str, list[tuple[float, bool]]] = {}
    for model, device, stack, phase, batch, prompt, seconds in (
        published(options.published) if options.published else ours()
    ):
        found = predict(model, device=device, batch=batch, prompt=prompt, output=2, stack=stack, dtype="fp16")
        part = found.prefill if phase == "prefill" else found.decode
        inside = part.low_s <= seconds <= part.high_s
        mark = "" if inside else "  outside"
        errors.setdefault(f"{device} {stack} {phase}", []).append((part.time_s / seconds - 1, inside))
        print(
            f"{model:14} {device:10} {stack:10} {phase:8} b{batch:<3} p{prompt:<5} measured"
            f" {seconds * 1e3:8.2f} ms"
            f"  predicted {part.time_s * 1e3:8.2f}  ({part.time_s / seconds - 1:+.0%})"
            f"{mark}"
        )
    for name, found in errors.items():
        ape = np.abs([error for error, _ in found])
        covered = np.mean([inside for _, inside in found])
        print(
            f"{name}: {len(found)} rows, median {np.median(ape):.1%}, p90 {np.quantile(ape, 0.9):.1%},"
            f" worst {ape.max():.1%}, inside the interval {covered:.0%}"
        )


if __name__ == "__main__":
    main()
