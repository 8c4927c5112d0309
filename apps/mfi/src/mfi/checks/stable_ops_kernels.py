"""Row of stable-ops' GPU kernels: measured on this machine's GPU, or what the committed run gave."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from mfi.checks import Outcome, Skip, check

RESULTS = Path(__file__).parents[5] / "packages" / "stable-ops" / "benchmarks" / "results" / "tune_h200.json"
OPS = ("softmax", "layer_norm", "rms_norm")
LENGTHS = (4096, 8192, 16_384, 32_768)
RIVALS = ("torch", "torch.compile")
LEAST = 0.95
# Of two medians: what the same kernel differs by from one run to the next.
NOISE = 0.01
_ELEMENTS = 2**27

Row = dict[str, Any]


@check(
    "w20-kernels",
    title="softmax, layer_norm, rms_norm on a GPU against copy in the same run, N 4096 to 32,768, bfloat16",
    bound=">= 0.95 of copy, and no slower than torch eager and torch.compile",
    unit="lowest share of copy",
)
def kernels() -> Outcome:
    """Measured here, or skipped with the recorded shares."""
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError:
        raise Skip(f"needs torch and a GPU{recorded()}") from None
    if not torch.cuda.is_available():
        raise Skip(f"needs a GPU{recorded()}")
    from stable_ops.bench import cases, timing

    points = cases.plan(OPS, LENGTHS, ["bfloat16"], elements=_ELEMENTS)
    prepared = timing.prepare(points, ["stable_ops", *RIVALS], elements=_ELEMENTS)
    report = timing.measure(prepared, elements=_ELEMENTS).to_dict()
    return judge(report["rows"], report["device"])


def recorded() -> str:
    """What the committed run says of the bound, for a machine that cannot measure it."""
    if not RESULTS.is_file():
        return ""
    run = json.loads(RESULTS.read_text(encoding="utf-8"))
    lowest = dict.fromkeys(OPS, 1.0)
    for row in run["rows"]:
        if row["length"] in LENGTHS:
            fastest = max(share for name, share in row["of_copy"].items() if name != "copy")
            lowest[row["op"]] = min(lowest[row["op"]], fastest)
    verdict = "met" if min(lowest.values()) >= LEAST else "not met"
    shares = ", ".join(f"{op} {share:.2f}" for op, share in lowest.items())
    return f"; the bound is {verdict} on the {run['device']} of {run['date']}: {shares} at worst"


def judge(rows: list[Row], where: str) -> Outcome:
    """The row's verdict on the rows of a run."""
    found = {(row["backend"], *_point(row)) for row in rows if _counts(row)}
    wanted = ((name, op, n) for name in ("stable_ops", *RIVALS) for op in OPS for n in LENGTHS)
    complete = found.issuperset(wanted)
    slower, lowest = behind(rows, RIVALS), _lowest(rows)
    detail = "; ".join([where if complete else f"{where}; the run lacks some of the points", *slower])
    passed = complete and min(lowest.values()) >= LEAST and not slower
    return Outcome(dict(lowest), passed, detail)


def behind(rows: list[Row], rivals: tuple[str, ...]) -> list[str]:
    """Where a rival is faster, a sentence each."""
    ours = _ours(rows)
    return [
        f"{row['backend']} is faster at {row['op']} {row['shape'][1]}"
        for row in rows
        if row["backend"] in rivals and _counts(row) and _point(row) in ours
        if row["median_s"] < (1 - NOISE) * ours[_point(row)]["median_s"]
    ]


def _lowest(rows: list[Row]) -> dict[str, float]:
    ours = _ours(rows).values()
    return {op: round(min((row["of_copy"] for row in ours if row["op"] == op), default=0.0), 3) for op in OPS}


def _ours(rows: list[Row]) -> dict[tuple[str, int], Row]:
    return {_point(row): row for row in rows if row["backend"] == "stable_ops" and _counts(row)}


def _counts(row: Row) -> bool:
    return row["op"] in OPS and row["shape"][1] in LENGTHS and row["dtype"] == "bfloat16"


def _point(row: Row) -> tuple[str, int]:
    return row["op"], row["shape"][1]
