"""The CPU's ceilings as `roofline measure` finds them, beside likwid-bench, in alternating rounds.

    python packages/roofline/benchmarks/cpu_against_likwid.py results.json [path/to/likwid-bench]

Both use every CPU, the same total working set, and data of one kind: the ratio of the best rounds is what the
measuring code adds or loses. Prints a table and writes it with the machine's name and conditions.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from roofline.conditions import cpu_conditions
from roofline.cpu_caches import cache_bytes, usable_cpus
from roofline.cpu_streams import Streams
from roofline.measurement import machine_name
from roofline.native import CHAINS, compiled

ROUNDS = 3
SECONDS = 0.25
PAIRS = {"read": "load", "copy": "copy", "write_nt": "store_mem", "copy_nt": "copy_mem"}


def suffix(width_bytes: int) -> str:
    return {64: "_avx512", 32: "_avx"}.get(width_bytes, "_sse")


def likwid(bench: str, test: str, size: int, threads: int, passes: int) -> float:
    """MByte/s or MFlops/s that likwid-bench prints, in bytes or FLOP per second."""
    command = [bench, "-t", test, "-w", f"N:{size // 1000}kB:{threads}", "-i", str(max(10, passes))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    key = "MFlops/s" if test.startswith("peakflops") else "MByte/s"
    found = re.search(rf"^{key}:\s+([\d.]+)", done.stdout, re.MULTILINE)
    assert found, done.stdout
    return float(found.group(1)) * 1e6


def main(output: Path, bench: str = "likwid-bench") -> None:
    threads, caches, native = usable_cpus(), cache_bytes(), compiled()
    assert native is not None, "no C compiler"
    ending = suffix(native.width_bytes)
    largest = max(512 << 20, 4 * max(caches.values()))
    sets = {name: size // 2 for name, size in caches.items()} | {"memory": largest}
    streams = Streams(native, threads=threads, largest=largest, seed=0)
    cases = [(level, ours) for level in sets for ours in ("read", "copy")]
    cases += [("memory", "write_nt"), ("memory", "copy_nt")]
    before = cpu_conditions()
    rows: dict[tuple[str, str], dict[str, list[float]]] = {
        case: {"ours": [], "likwid": []} for case in [*cases, ("registers", "fp32"), ("registers", "fp64")]
    }
    for _ in range(ROUNDS):
        for level, name in cases:
            rate = streams.rates(sets[level], seconds=SECONDS, names=[name])[name].median
            passes = int(rate * SECONDS / sets[level])
            rows[level, name]["ours"].append(rate)
            rows[level, name]["likwid"].append(
                likwid(bench, PAIRS[name] + ending, sets[level], threads, passes)
            )
        for dtype, test in (("fp32", "peakflops_sp"), ("fp64", "peakflops")):
            rows["registers", dtype]["ours"].append(chained(native, dtype, threads))
            rows["registers", dtype]["likwid"].append(
                likwid(bench, f"{test}{ending}_fma", caches["l1"] // 2, threads, 200_000)
            )
    report(output, rows, threads, before, native.compiler, bench)


def chained(native: object, dtype: str, threads: int) -> float:
    steps = 2_000_000
    function = native.chain(dtype)  # type: ignore[attr-defined]
    with ThreadPoolExecutor(threads) as pool:
        taken = []
        for _ in range(5):
            start = time.perf_counter()
            list(pool.map(lambda one: function(0.75, 0.1 + one, steps), range(threads)))
            taken.append(time.perf_counter() - start)
    lanes = native.width_bytes // {"fp32": 4, "fp64": 8}[dtype]  # type: ignore[attr-defined]
    return 2 * CHAINS * lanes * steps * threads / min(taken)


def report(output: Path, rows: dict, threads: int, before: dict, compiler: str, bench: str) -> None:
    table = []
    for (level, name), found in rows.items():
        best = {who: max(values) for who, values in found.items()}
        middle = {who: statistics.median(values) for who, values in found.items()}
        ratio = best["ours"] / best["likwid"]
        table.append({"level": level, "kernel": name, "best": best, "median": middle, "ratio_of_best": ratio})
        print(
            f"{level:10} {name:9} ours {best['ours'] / 1e9:9.2f}  likwid {best['likwid'] / 1e9:9.2f}"
            f"  ratio {ratio:.3f}   medians {middle['ours'] / 1e9:9.2f} {middle['likwid'] / 1e9:9.2f}"
        )
    version = subprocess.run([bench, "-v"], capture_output=True, text=True, check=False).stdout.strip()
    payload = {
        "date": time.strftime("%Y-%m-%d"),
        "command": "python packages/roofline/benchmarks/cpu_against_likwid.py",
        "device": machine_name(),
        "threads": threads,
        "rounds": ROUNDS,
        "versions": {"likwid-bench": version, "compiler": compiler},
        "conditions": {"before": before, "after": cpu_conditions()},
        "rows": table,
    }
    output.write_text(json.dumps(payload, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
