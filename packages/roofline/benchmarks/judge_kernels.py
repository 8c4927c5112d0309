"""Our counts and verdicts beside a profiler's counters, from the files that kernels_gpu.py made on a GPU.

    python packages/roofline/benchmarks/judge_kernels.py
    python packages/roofline/benchmarks/judge_kernels.py FOLDER ...

The first form prints the committed run. The second adds to it, results/kernels_h200.json, the cases of
folders with ncu.csv, cases.json and times.json, and makes results/ceilings_h200.json of the last one with a
ceilings.json.

Compulsory bytes are what memory moves when the last cache keeps all that is used again. For a product it does
where the operands fit it, or where all tiles run at once and walk along the inner dimension together. Else a
product reads operands again, in an order that the library chooses: its traffic lies between the compulsory
bytes and what the L2 delivers.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from roofline import device, place
from roofline.ncu import between_markers, read_ncu
from roofline.placing import l2_bytes
from roofline.tabled import kernel_from

RESULTS = Path(__file__).parent / "results"
MARKER = "bitwise_not"
BAR = 0.1


def counters(folder: Path) -> list[dict[str, Any]]:
    """One entry a case: its sizes, the sums of its kernels' counters, and the time without a profiler."""
    cases = json.loads((folder / "cases.json").read_text())
    times = {row["name"]: row["time_s"] for row in json.loads((folder / "times.json").read_text())}
    found = read_ncu((folder / "ncu.csv").read_text(), where="ncu.csv", dtype="bf16")
    groups = between_markers(found, MARKER)
    assert len(groups) == len(cases), (len(groups), len(cases))
    rows = []
    for case, group in zip(cases, groups, strict=True):
        spent = sum(kernel.measured_s or 0 for kernel in group)
        share = {
            key: sum(dict(kernel.utilisation)[key] * (kernel.measured_s or 0) for kernel in group) / spent
            for key in ("compute", "memory")
        }
        rows.append(
            {
                **case,
                "kernels": [kernel.operator.name for kernel in group],
                "profiled_s": spent,
                "time_s": times[case["name"]],
                "dram_bytes": sum(kernel.operator.bytes for kernel in group),
                "l2_bytes": sum(dict(kernel.levels_bytes)["l2"] for kernel in group),
                "counted_flop": sum(kernel.operator.flop for kernel in group),
                "utilisation": share,
            }
        )
    return rows


def record(folders: list[Path]) -> None:
    """Write the committed files: each case of the last folder that has it, others as they were."""
    run = json.loads((RESULTS / "kernels_h200.json").read_text())
    cases = {case["name"]: case for case in run["cases"]}
    stamp = {"date": time.strftime("%Y-%m-%d"), "device": run["device"]}
    for folder in folders:
        cases |= {case["name"]: {**case, "date": stamp["date"]} for case in counters(folder)}
        if (folder / "ceilings.json").is_file():
            ceilings = json.loads((folder / "ceilings.json").read_text())
            ceilings = {**stamp, "command": "roofline measure --device cuda --seconds 12 --seed 1"} | ceilings
            (RESULTS / "ceilings_h200.json").write_text(json.dumps(ceilings, indent=1) + "\n")
    payload = {**run, **stamp, "cases": list(cases.values())}
    (RESULTS / "kernels_h200.json").write_text(json.dumps(payload, indent=1) + "\n")


def show() -> None:
    run = json.loads((RESULTS / "kernels_h200.json").read_text())
    here = device(RESULTS / "ceilings_h200.json")
    print(f"{run['device']}, {run['date']}, {run['versions']}")
    print(
        f"{'case':22} {'bound':8} {'counters':8} {'bytes':>10} {'dram':>10} {'ratio':>6} {'10 %':>5}"
        f" {'L2 ratio':>8} {'floor us':>9} {'us':>8} {'of roof':>7} {'SM':>5} {'DRAM':>5}"
    )
    for case in run["cases"]:
        entry = case | {"kind": case["kind"].removesuffix("_unfused")}
        kernel = kernel_from({**entry, "time_s": None}, where=case["name"], dtype="bf16")
        placed = place(kernel.operator, here, dtype="bf16")
        busy = max(case["utilisation"], key=case["utilisation"].get)
        moved = kernel.operator.unfused_bytes if case["kind"].endswith("unfused") else kernel.operator.bytes
        within = "yes" if abs(case["dram_bytes"] / moved - 1) <= BAR else "no"
        print(
            f"{case['name']:22} {placed.bound:8} {busy:8} {moved / 1e6:10.1f}"
            f" {case['dram_bytes'] / 1e6:10.1f}"
            f" {case['dram_bytes'] / moved:6.3f} {within:>5}"
            f" {case['l2_bytes'] / l2_bytes(kernel.operator):8.3f}"
            f" {placed.time_s * 1e6:9.1f} {case['time_s'] * 1e6:8.1f} {placed.time_s / case['time_s']:7.2f}"
            f" {case['utilisation']['compute']:5.2f} {case['utilisation']['memory']:5.2f}"
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        record([Path(one) for one in sys.argv[1:]])
    show()
