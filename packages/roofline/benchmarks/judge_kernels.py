"""Our counts and verdicts beside a profiler's counters, from the files that kernels_gpu.py made on a GPU.

    python packages/roofline/benchmarks/judge_kernels.py
    python packages/roofline/benchmarks/judge_kernels.py FOLDER ...

The first form prints the committed run. The second makes it, results/kernels_h200.json and
results/ceilings_h200.json, from folders with ncu.csv, cases.json, times.json and, in the first,
ceilings.json.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from roofline import device, place
from roofline.ncu import between_markers, read_ncu
from roofline.tabled import kernel_from

RESULTS = Path(__file__).parent / "results"
MARKER = "bitwise_not"


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
    """Write the committed files: ceilings of the first folder, each case of the last one that has it."""
    ceilings = json.loads((folders[0] / "ceilings.json").read_text())
    cases = {case["name"]: case for folder in folders for case in counters(folder)}
    stamp = {"date": time.strftime("%Y-%m-%d"), "device": ceilings["device"]}
    versions = {**ceilings["versions"], "ncu": "2025.3.1.0"}
    ceilings = {**stamp, "command": "roofline measure --device cuda --seconds 12 --seed 1"} | ceilings
    (RESULTS / "ceilings_h200.json").write_text(json.dumps(ceilings, indent=1) + "\n")
    command = "ncu --clock-control none ... python packages/roofline/benchmarks/kernels_gpu.py run"
    payload = {**stamp, "command": command, "versions": versions, "cases": list(cases.values())}
    (RESULTS / "kernels_h200.json").write_text(json.dumps(payload, indent=1) + "\n")


def show() -> None:
    run = json.loads((RESULTS / "kernels_h200.json").read_text())
    here = device(RESULTS / "ceilings_h200.json")
    print(f"{run['device']}, {run['date']}, {run['versions']}")
    print(
        f"{'case':22} {'bound':8} {'counters':8} {'bytes':>10} {'dram':>10} {'ratio':>6} {'L2 ratio':>8}"
        f" {'floor us':>9} {'us':>8} {'of roof':>7} {'SM':>5} {'DRAM':>5}"
    )
    for case in run["cases"]:
        entry = case | {"kind": case["kind"].removesuffix("_unfused")}
        kernel = kernel_from({**entry, "time_s": None}, where=case["name"], dtype="bf16")
        placed = place(kernel.operator, here, dtype="bf16")
        busy = max(case["utilisation"], key=case["utilisation"].get)
        moved = kernel.operator.unfused_bytes if case["kind"].endswith("unfused") else kernel.operator.bytes
        from roofline.placing import l2_bytes

        print(
            f"{case['name']:22} {placed.bound:8} {busy:8} {moved / 1e6:10.1f}"
            f" {case['dram_bytes'] / 1e6:10.1f}"
            f" {case['dram_bytes'] / moved:6.3f} {case['l2_bytes'] / l2_bytes(kernel.operator):8.3f}"
            f" {placed.time_s * 1e6:9.1f} {case['time_s'] * 1e6:8.1f} {placed.time_s / case['time_s']:7.2f}"
            f" {case['utilisation']['compute']:5.2f} {case['utilisation']['memory']:5.2f}"
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        record([Path(one) for one in sys.argv[1:]])
    show()
