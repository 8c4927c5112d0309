"""What `roofline measure` prints for a CPU beside likwid-bench, STREAM's loops and BLAS, in one run.

    python packages/roofline/benchmarks/cpu_against_likwid.py results.json [ROUNDS [path/to/likwid-bench]]

Each round measures everything once and briefly, ours and theirs in turn; a later call adds its rounds to
those of the file. A ceiling is what a machine can do when nothing else runs, and other work only takes from
it: each program's figure is its best round. All use every CPU of this process and equal working sets; on a
machine with other work, give it one: `taskset -c 0 chrt -f 10 python ...`. Prints a table and writes it with
the machine's name, conditions and versions. Needs a C compiler with OpenMP; without likwid-bench only
STREAM's loops stand beside ours.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mfi_command import atomic_file
from roofline import measure
from roofline.conditions import cpu_conditions
from roofline.cpu_caches import cache_bytes, usable_cpus
from roofline.cpu_products import vector_rates
from roofline.cpu_streams import Streams
from roofline.measurement import machine_name
from roofline.native import Native, compiled

ROUNDS = "6"
SECONDS = 0.05
SUITE_SECONDS = 3.0
LIKWID = {"read": "load", "write": "store", "copy": "copy", "write_nt": "store_mem", "copy_nt": "copy_mem"}
LOOPS = {"read": "sum", "write": "fill", "copy": "copy", "write_nt": "past_fill", "copy_nt": "past_copy"}
PRODUCTS = (1024, 2048)
BAR = 0.05
PROCESSES = 3  # of theirs a round: each gets other pages, which share the sets of a cache by chance
PARTS_OF_L1 = "parts of l1"
Found = dict[tuple[str, str], dict[str, list[float]]]


def likwid(bench: str, test: str, size: int, threads: int, passes: int) -> float | None:
    """Bytes/s or FLOP/s that likwid-bench prints; None where it does not run."""
    key = "MFlops/s" if test.startswith("peakflops") else "MByte/s"
    for domain in ("N", "S0", "M0"):
        group = f"{domain}:{size}B:{threads}"
        command = [bench, "-t", test, "-w", group, "-i", str(max(10, passes))]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        except OSError:
            return None
        found = re.search(rf"^{key}:\s+([\d.]+)", done.stdout, re.MULTILINE)
        if found:
            return float(found.group(1)) * 1e6
    print("likwid-bench:", " ".join(command), (done.stderr or done.stdout)[-300:], file=sys.stderr)
    return None


def compiled_stream(folder: Path) -> Path:
    source, target = Path(__file__).parent / "stream.c", folder / "stream"
    flags = ["-O3", "-march=native", "-ffast-math", "-fopenmp", "-funroll-loops"]
    # One sum waits for itself; a copying loop would become a call of memcpy, which chooses its stores.
    flags += ["-fvariable-expansion-in-unroller", "-fno-tree-loop-distribute-patterns"]
    subprocess.run(["cc", *flags, str(source), "-o", str(target)], check=True, timeout=120)
    return target


def stream(program: Path, kernel: str, size: int, threads: int, passes: int) -> float:
    command = [str(program), kernel, str(size), str(max(2, passes // 5))]
    environment = {"OMP_NUM_THREADS": str(threads), "OMP_PROC_BIND": "true", "PATH": os.environ["PATH"]}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment)
    return float(done.stdout)


def largest_product(kind: type, generator: np.random.Generator) -> float:
    """FLOP/s: the best size and library, each at its best of three, in single calls without our harness."""
    import torch

    best = 0.0
    for n in PRODUCTS:
        a, b = (generator.standard_normal((n, n)).astype(kind) for _ in range(2))
        ta, tb = torch.from_numpy(a), torch.from_numpy(b)
        for task in (lambda a=a, b=b: a @ b, lambda a=ta, b=tb: a @ b):
            task()
            for _ in range(3):
                start = time.perf_counter()
                task()
                best = max(best, 2 * n**3 / (time.perf_counter() - start))
    return best


def streams_round(native: Native, bench: str, program: Path, found: Found, sets: dict[str, int]) -> None:
    """One reading of every kernel at every level by each program."""
    threads, ending = usable_cpus(), {64: "_avx512", 32: "_avx"}.get(native.width_bytes, "_sse")
    streams = Streams(native, threads=threads, largest=max(sets.values()), seed=0)
    for level, size in sets.items():
        for name in ("read", "write", "copy", *(("write_nt", "copy_nt") if level == "memory" else ())):
            rate = streams.rates(size, seconds=SECONDS, names=[name])[name].high
            passes, row = int(rate * SECONDS / size), found[level, name]
            _add(row, "ours", rate)
            for _ in range(PROCESSES):
                _add(row, "likwid", likwid(bench, LIKWID[name] + ending, size, threads, passes))
                _add(row, "stream", stream(program, LOOPS[name], size, threads, passes))
    streams.close()
    rates = vector_rates(native, threads=threads, seconds=2 * SECONDS)
    for dtype, test in (("fp32", "peakflops_sp"), ("fp64", "peakflops")):
        row = found["registers", dtype]
        _add(row, "ours", rates[dtype].high)
        passes = int(rates[dtype].median * SECONDS / (sets["l1"] / 2))
        _add(row, "likwid", likwid(bench, f"{test}{ending}_fma", sets["l1"], threads, passes // 8))


def loop_ends_round(native: Native, bench: str, found: Found, l1: int) -> None:
    """Reads of sets that all fit the first cache: a pass takes bytes / rate, and what its loop's end costs.

    A short loop that ends after an unexpected number of rounds is a branch predicted wrongly, once a pass.
    """
    threads, ending = usable_cpus(), {64: "_avx512", 32: "_avx"}.get(native.width_bytes, "_sse")
    streams = Streams(native, threads=threads, largest=l1, seed=0)
    for eighths in range(1, 7):
        size = l1 * eighths // 8
        rate = streams.rates(size, seconds=SECONDS, names=["read"])["read"].high
        row = found[PARTS_OF_L1, str(size)]
        _add(row, "ours", rate)
        _add(row, "likwid", likwid(bench, LIKWID["read"] + ending, size, threads, int(rate * SECONDS / size)))
    streams.close()


def without_ends(found: Found) -> dict[str, tuple[float, float]]:
    """Bytes/s of each program without what the end of a pass costs, and those seconds: a line through the
    best time of a pass over its bytes.
    """
    times: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for (level, size), row in found.items():
        if level == PARTS_OF_L1:
            for who, rates in row.items():
                times[who].append((float(size), float(size) / max(rates)))
    lines = {}
    for who, pairs in times.items():
        slope, end_s = np.polyfit(*np.array(pairs).T, 1)
        lines[who] = (1 / float(slope), float(end_s))
    return lines


def suite_round(found: Found, number: int) -> None:
    """What a user sees: the figures of one `roofline measure`, and products without it."""
    printed = measure(seconds=SUITE_SECONDS, seed=number)
    for level, rate in printed.levels.items():
        _add(found[level, "read"], "measure", rate)
    _add(found["memory", "best"], "measure", printed.bandwidth.median)
    for dtype, kind in (("fp32", np.float32), ("fp64", np.float64)):
        _add(found["product", dtype], "measure", printed.peaks[dtype].median)
        _add(found["registers", dtype], "measure", printed.vector_peaks[dtype].median)
        _add(found["product", dtype], "blas", largest_product(kind, np.random.default_rng(number)))


def _add(found: dict[str, list[float]], who: str, value: float | None) -> None:
    if value is not None:
        found.setdefault(who, []).append(value)


def table(found: Found) -> Iterator[dict]:
    """The best of each program, and the ratio of ours to the better of theirs."""
    memory = [who for (level, _), row in found.items() if level == "memory" for who in row.items()]
    rivals: dict[str, list[float]] = defaultdict(list)
    for who, values in memory:
        if who in ("likwid", "stream"):
            rivals[who].append(max(values))
    ends = without_ends(found)
    rates = {who: rate for who, (rate, _) in ends.items()}
    ratio = rates["ours"] / rates["likwid"] if "likwid" in rates else None
    costs = {who: end_s for who, (_, end_s) in ends.items()}
    row = {"level": "l1", "kernel": "read_on", "of": "ours", "best": rates, "ratio": ratio}
    yield row | {"end_of_pass_s": costs}
    for (level, name), row in found.items():
        if level == PARTS_OF_L1:
            continue
        best = {who: max(values) for who, values in row.items()}
        if (level, name) == ("memory", "best"):
            best |= {who: max(values) for who, values in rivals.items()}
        others = [value for who, value in best.items() if who not in ("ours", "measure")]
        for who in ("ours", "measure"):
            if who in best:
                ratio = best[who] / max(others) if others else None
                yield {"level": level, "kernel": name, "of": who, "best": best, "ratio": ratio}


def main(output: Path, rounds: str = ROUNDS, bench: str = "likwid-bench") -> None:
    native, caches = compiled(), cache_bytes()
    assert native is not None, "no C compiler"
    largest = max(256 << 20, 4 * max(caches.values()))
    # A last cache is shared with what else runs on the chip: less of it is ours.
    sets = {name: size // (4 if name == "llc" else 2) for name, size in caches.items()}
    sets["memory"] = largest
    held = json.loads(output.read_text(encoding="utf-8")) if output.is_file() else {"conditions": []}
    found: Found = defaultdict(dict)
    for level, kernels in held.get("readings", {}).items():
        found |= {(level, name): row for name, row in kernels.items()}
    done = len(held["conditions"])
    with tempfile.TemporaryDirectory() as folder:
        program = compiled_stream(Path(folder))
        for number in range(done, done + int(rounds)):
            streams_round(native, bench, program, found, sets)
            loop_ends_round(native, bench, found, 2 * sets["l1"])
            suite_round(found, number)
            held["conditions"].append(cpu_conditions())
            print(f"round {number + 1}", file=sys.stderr)
    rows = list(table(found))
    for row in rows:
        shown = "  ".join(f"{who} {value / 1e9:8.2f}" for who, value in row["best"].items())
        ratio = "      " if row["ratio"] is None else f"{row['ratio']:6.3f}"
        print(f"{row['level']:10} {row['kernel']:9} {row['of']:8} {ratio}   {shown}")
        for who, end_s in row.get("end_of_pass_s", {}).items():
            print(f"{'':39}{who}: the end of a pass {end_s * 1e9:.1f} ns")
    readings: dict[str, dict] = defaultdict(dict)
    for (level, name), row in found.items():
        readings[level][name] = {who: [float(f"{v:.5g}") for v in values] for who, values in row.items()}
    payload = {
        "date": time.strftime("%Y-%m-%d"),
        "command": "taskset -c 0 chrt -f 10 python packages/roofline/benchmarks/cpu_against_likwid.py",
        "device": machine_name(),
        "threads": usable_cpus(),
        "versions": {"likwid-bench": _version(bench), "compiler": native.compiler, "numpy": np.__version__},
        "working_sets_bytes": sets,
        "within": {f"{BAR:.0%}": sum(abs(row["ratio"] - 1) <= BAR for row in rows if row["ratio"])},
        "rows": rows,
        "readings": readings,
        "conditions": held["conditions"],
    }
    with atomic_file(output) as beside:
        beside.write_text(json.dumps(payload, indent=1) + "\n", encoding="utf-8")


def _version(bench: str) -> str:
    try:
        return subprocess.run([bench, "-v"], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return "not there"


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:4])
