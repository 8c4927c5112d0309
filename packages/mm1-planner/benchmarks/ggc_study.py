"""Errors of `GGc` and of textbook formulas against long simulations, on cells that took no part in it.

    python packages/mm1-planner/benchmarks/ggc_study.py [--set confirming] [--output ggc_study.json]

The method and its declared range were chosen on `results/ggc_choosing.json` and are judged on
`results/ggc_judging.json`, both made by `ggc_reference.py`. An error counts beyond the half width of the
simulation's own 95 % interval. Times that hardly anyone waits for have no relative error worth the name:
where fewer than one in a hundred waits the p99 is 0 in both.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import platform
from collections.abc import Callable
from pathlib import Path

from ggc_peers import PEERS, mean_and_p99
from ggc_reference import RESULTS, law

from mm1_planner.models.ggc import MEAN_ERROR, P99_ERROR, GGc

OURS = "GGc"
Errors = dict[str, tuple[float, float]]


def error(value: float, measured: list[float]) -> float:
    truth, low, high = measured
    beyond = max(0.0, abs(value - truth) - (high - low) / 2)
    return beyond / truth if truth > 0 else float(value > 0)


def compare(cell: dict[str, object]) -> tuple[bool, Errors]:
    """Whether `GGc` is declared for a cell, and the errors of mean and p99 of each formula."""
    servers, load = int(cell["servers"]), float(cell["load"])
    gap = law(str(cell["arrival_law"]), 1 / (load * servers), float(cell["arrival_scv"]))
    service = law(str(cell["service_law"]), 1.0, float(cell["service_scv"]))
    queue = GGc(gap, service, servers)
    values = {OURS: (queue.mean_wait_s, queue.wait_percentile(0.99))}
    values |= {name: mean_and_p99(name, load, servers, gap.scv, service.scv) for name in PEERS}
    return queue.declared, {
        name: (error(mean, cell["mean_wait_s"]), error(p99, cell["p99_wait_s"]))
        for name, (mean, p99) in values.items()
    }


def summarise(region: str, name: str, found: list[tuple[float, float]]) -> dict[str, object]:
    wrong = sum(mean > MEAN_ERROR or p99 > P99_ERROR for mean, p99 in found)
    row: dict[str, object] = {"region": region, "formula": name, "cells": len(found), "wrong": wrong}
    if found:
        for place, what in enumerate(("mean", "p99")):
            ordered = sorted(each[place] for each in found)
            row |= {
                f"{what}_median": round(ordered[len(ordered) // 2], 4),
                f"{what}_p90": round(ordered[int(0.9 * len(ordered))], 4),
                f"{what}_worst": round(ordered[-1], 4),
            }
    print(f"{region:28s} {name:24s}", *(f"{key} {value}" for key, value in list(row.items())[2:]))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--set", choices=("confirming", "judging", "choosing"), default="judging")
    parser.add_argument("--output", type=Path, help="JSON file for the result")
    arguments = parser.parse_args()
    cells = json.loads((RESULTS / f"ggc_{arguments.set}.json").read_text(encoding="utf-8"))["cells"]
    found = [(cell, *compare(cell)) for cell in cells]
    regions: dict[str, Callable[[dict[str, object], bool], bool]] = {
        "one server, declared": lambda cell, declared: declared and cell["servers"] == 1,
        "several servers, declared": lambda cell, declared: declared and cell["servers"] != 1,
        "  service scv up to 1": lambda cell, declared: (
            declared and cell["servers"] != 1 and float(cell["service_scv"]) <= 1
        ),
        "  service scv above 1": lambda cell, declared: (
            declared and cell["servers"] != 1 and float(cell["service_scv"]) > 1
        ),
        "outside: says simulate": lambda cell, declared: not declared,
        "all": lambda cell, declared: True,
    }
    rows = [
        summarise(region, name, [errors[name] for cell, declared, errors in found if inside(cell, declared)])
        for region, inside in regions.items()
        for name in (OURS, *PEERS)
    ]
    missed = [
        {key: cell[key] for key in list(cell)[:7]} | {"errors": [round(each, 4) for each in errors[OURS]]}
        for cell, declared, errors in found
        if declared and (errors[OURS][0] > MEAN_ERROR or errors[OURS][1] > P99_ERROR)
    ]
    for each in missed:
        print("declared and wrong:", each)
    if arguments.output:
        result = {
            "command": f"python packages/mm1-planner/benchmarks/ggc_study.py --set {arguments.set}",
            "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
            "python": platform.python_version(),
            "versions": {name: importlib.metadata.version(name) for name in ("mm1-planner", "numpy")},
            "rows": rows,
            "declared_and_wrong": missed,
        }
        arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
