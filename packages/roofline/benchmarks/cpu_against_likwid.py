"""The CPU's ceilings as `roofline measure` finds them, beside likwid-bench and STREAM's loops, in alternating
rounds.

    python packages/roofline/benchmarks/cpu_against_likwid.py results.json [path/to/likwid-bench]

All use every CPU that the process may run on and the same total working set: the ratio of the best rounds is
what the measuring code adds or loses. Prints a table and writes it with the machine's name and conditions.
Needs a C compiler with OpenMP; without likwid-bench only STREAM's loops stand beside ours.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from roofline.conditions import cpu_conditions
from roofline.cpu_caches import cache_bytes, usable_cpus
from roofline.cpu_streams import Streams
from roofline.measurement import machine_name
from roofline.native import CHAINS, compiled

ROUNDS = 2
SECONDS = 0.25
PAIRS = {"read": "load", "copy": "copy", "write_nt": "store_mem", "copy_nt": "copy_mem"}


def suffix(width_bytes: int) -> str:
    return {64: "_avx512", 32: "_avx"}.get(width_bytes, "_sse")


def likwid(bench: str, test: str, size: int, threads: int, passes: int) -> float | None:
    """MByte/s or MFlops/s that likwid-bench prints, in bytes or FLOP per second; None where it does not
    run.
    """
    key = "MFlops/s" if test.startswith("peakflops") else "MByte/s"
    for domain in ("N", "S0", "M0"):
        command = [
            bench,
            "-t",
            test,
            "-w",
            f"{domain}:{size // 1000}kB:{threads}",
            "-i",
            str(max(10, passes)),
        ]
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
    flags = ["-O3", "-march=native", "-ffast-math", "-fopenmp"]
    subprocess.run(["cc", *flags, str(source), "-o", str(target)], check=True, timeout=120)
    return target


def stream(program: Path, kernel: str, size: int, threads: int, passes: int) -> float:
    command = [str(program), kernel, str(size), str(max(2, passes // 5))]
    environment = {"OMP_NUM_THREADS": str(threads), "OMP_PROC_BIND": "true", "PATH": os.environ["PATH"]}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment)
    return float(done.stdout)


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
        case: {"ours": [], "likwid": [], "stream": []}
        for case in [*cases, ("registers", "fp32"), ("registers", "fp64")]
    }
    with tempfile.TemporaryDirectory() as folder:
        program = compiled_stream(Path(folder))
        for _ in range(ROUNDS):
            for level, name in cases:
                rate = streams.rates(sets[level], seconds=SECONDS, names=[name])[name]
                passes = int(rate.median * SECONDS / sets[level])
                found = rows[level, name]
                found["ours"].append(rate.high)
                _add(found, "likwid", likwid(bench, PAIRS[name] + ending, sets[level], threads, passes))
                if name in ("read", "copy"):
                    loop = {"read": "sum", "copy": "copy"}[name]
                    _add(found, "stream", stream(program, loop, sets[level], threads, passes))
            for dtype, test in (("fp32", "peakflops_sp"), ("fp64", "peakflops")):
                found = rows["registers", dtype]
                found["ours"].append(chained(native, dtype, threads))
                _add(
                    found,
                    "likwid",
                    likwid(bench, f"{test}{ending}_fma", caches["l1"] // 2, threads, 200_000),
                )
    report(output, rows, threads, before, native.compiler, bench)


def _add(found: dict[str, list[float]], who: str, value: float | None) -> None:
    if value is not None:
        found[who].append(value)


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
        best = {who: max(values) for who, values in found.items() if values}
        others = [value for who, value in best.items() if who != "ours"]
        ratio = best["ours"] / max(others) if others else None
        table.append({"level": level, "kernel": name, "best": best, "ratio_to_best_other": ratio})
        shown = "  ".join(f"{who} {value / 1e9:9.2f}" for who, value in best.items())
        print(f"{level:10} {name:9} {shown}  ratio {ratio:.3f}" if ratio else f"{level:10} {name:9} {shown}")
    try:
        version = subprocess.run([bench, "-v"], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        version = "not there"
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
