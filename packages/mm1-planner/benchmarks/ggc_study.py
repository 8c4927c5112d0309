"""Errors of `GGc` against the long simulations of `ggc_reference.py`, by region of its declared range.

    python packages/mm1-planner/benchmarks/ggc_study.py [--reference FILE] [--output ggc_study.json]

An error counts beyond the half width of the simulation's own 95 % interval. Times that hardly anyone waits
for have no relative error worth the name: where fewer than one in a hundred waits the p99 is 0 in both.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ggc_reference import law

from mm1_planner.models.ggc import MEAN_ERROR, P99_ERROR, GGc

RESULTS = Path(__file__).parent / "results"


def compare(cell: dict[str, object]) -> dict[str, object]:
    servers, load = int(cell["servers"]), float(cell["load"])
    gap = law(str(cell["arrival_law"]), 1 / (load * servers), float(cell["arrival_scv"]))
    queue = GGc(gap, law(str(cell["service_law"]), 1.0, float(cell["service_scv"])), servers)
    found: dict[str, object] = {"number": cell["number"], "declared": queue.declared}
    for name, value in (("mean_wait_s", queue.mean_wait_s), ("p99_wait_s", queue.wait_percentile(0.99))):
        truth, low, high = cell[name]
        beyond = max(0.0, abs(value - truth) - (high - low) / 2)
        found[name] = beyond / truth if truth > 0 else float(value > 0)
    return found


def summarise(title: str, found: list[dict[str, object]]) -> dict[str, object]:
    means, p99s = (sorted(float(each[name]) for each in found) for name in ("mean_wait_s", "p99_wait_s"))
    wrong = sum(
        float(each["mean_wait_s"]) > MEAN_ERROR or float(each["p99_wait_s"]) > P99_ERROR for each in found
    )
    middle = len(found) // 2
    row = {"cells": len(found), "wrong": wrong}
    if found:
        row |= {"mean_median": round(means[middle], 4), "mean_worst": round(means[-1], 4)}
        row |= {"p99_median": round(p99s[middle], 4), "p99_worst": round(p99s[-1], 4)}
    print(f"{title:32s}", *(f"{name} {value}" for name, value in row.items()))
    return {"region": title} | row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--reference", type=Path, default=RESULTS / "ggc_reference.json")
    parser.add_argument("--output", type=Path, help="JSON file for the result")
    arguments = parser.parse_args()
    cells = json.loads(arguments.reference.read_text(encoding="utf-8"))
    found = [(cell, compare(cell)) for cell in cells]
    regions = {
        "one server": lambda cell, each: cell["servers"] == 1,
        "several servers, declared": lambda cell, each: cell["servers"] > 1 and each["declared"],
        "  service scv up to 1": lambda cell, each: (
            each["declared"] and cell["servers"] > 1 and cell["service_scv"] <= 1
        ),
        "  service scv above 1": lambda cell, each: (
            each["declared"] and cell["servers"] > 1 and cell["service_scv"] > 1
        ),
        "outside: says simulate": lambda cell, each: not each["declared"],
    }
    rows = [
        summarise(title, [each for cell, each in found if inside(cell, each)])
        for title, inside in regions.items()
    ]
    if arguments.output:
        arguments.output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
