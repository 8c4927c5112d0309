"""Row of stable-ops' GPU kernels, recomputed from the committed run of `stable-ops bench`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mfi.checks import Outcome, Skip, check

RESULTS = Path(__file__).parents[5] / "packages" / "stable-ops" / "benchmarks" / "results" / "h100.json"
OPS = ("softmax", "layer_norm", "rms_norm")
LENGTHS = (4096, 8192, 16_384, 32_768)
RIVALS = ("torch", "torch.compile")
LEAST = 0.95

Row = dict[str, Any]


@check(
    "w20-kernels",
    title="softmax, layer_norm, rms_norm against copy in the same run, N 4096 to 32,768, bfloat16 [recorded]",
    bound=">= 0.95 of copy, and no slower than torch eager and torch.compile, which may be 1 % within noise",
    unit="lowest share of copy",
)
def kernels() -> Outcome:
    if not RESULTS.is_file():
        raise Skip("needs the repository's benchmark results")
    run = json.loads(RESULTS.read_text(encoding="utf-8"))
    return judge(run["rows"], f"{run['device']}, {run['date']}, torch {run['versions']['torch']}")


def judge(rows: list[Row], where: str) -> Outcome:
    """The row's verdict on the rows of a run."""
    ours = {_point(row): row for row in rows if row["backend"] == "stable_ops" and _counts(row)}
    rivals = [row for row in rows if row["backend"] in RIVALS and _counts(row) and _point(row) in ours]
    shares = {op: [row["of_copy"] for row in ours.values() if row["op"] == op] for op in OPS}
    lowest = {op: min(found, default=0.0) for op, found in shares.items()}
    faster = [row for row in rivals if row["median_s"] < 0.99 * ours[_point(row)]["median_s"]]
    compared = {(row["backend"], *_point(row)) for row in rivals}
    complete = len(compared) == len(RIVALS) * len(OPS) * len(LENGTHS)
    detail = where if complete else f"{where}; the run lacks some of the points"
    for row in faster:
        detail += f"; {row['backend']} is faster at {row['op']} {row['shape'][1]}"
    passed = complete and min(lowest.values()) >= LEAST and not faster
    return Outcome({op: round(share, 3) for op, share in lowest.items()}, passed, detail)


def _counts(row: Row) -> bool:
    return row["op"] in OPS and row["shape"][1] in LENGTHS and row["dtype"] == "bfloat16"


def _point(row: Row) -> tuple[str, int]:
    return row["op"], row["shape"][1]
