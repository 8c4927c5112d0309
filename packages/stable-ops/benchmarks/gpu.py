"""The committed runs on a GPU: `stable-ops bench` in parts, so that several processes compile.

    gpu=packages/stable-ops/benchmarks/gpu.py
    python $gpu compile 0 4 & python $gpu compile 1 4 & ...   # fills Triton's and torch.compile's caches
    python $gpu accuracy softmax gelu --output parts & ...    # errors, invariance, trials
    python $gpu speed --output parts --wait go                # compiles, waits for the file "go", times
    python $gpu merge parts packages/stable-ops/benchmarks/results/h100.json

With --wait FILE the third waits for FILE.torch.compile and FILE.flashinfer, which say that the cache of
either is filled, makes FILE.ready when it has compiled, and times from FILE on; what FILE finds uncompiled is
left out. A part is written after every point or operator: a run that is cut short leaves what it has.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from stable_ops.bench import table, timing
from stable_ops.bench.accuracy import survey
from stable_ops.bench.cases import ELEMENTWISE, OPS, ROW_OPS, SAMPLING, Point, plan
from stable_ops.bench.peers import BACKENDS, Absent, absence, versions
from stable_ops.bench.report import BenchReport

LENGTHS = (128, 256, 512, 1024, 4096, 8192, 16_384, 32_768, 65_536, 131_072, 262_144)
# Each length is compiled anew: fewer of them for the formats and libraries that take long.
COMPILED = tuple(n for n in LENGTHS if n not in (256, 512))
FEW = (1024, 4096, 32_768, 131_072)
ELEMENTS = {"bfloat16": 2**28, "float16": 2**28, "float32": 2**27}
LATE = "flashinfer"
# What these compile stays on disk for the next process.
COMPILING = {"stable_ops", "torch.compile", "liger"}
DTYPES = ("bfloat16", "float16", "float32")


def points(dtype: str) -> tuple[Point, ...]:
    """Every length in bfloat16, some in the others; sampling with the first."""
    first = dtype == DTYPES[0]
    ops = (*ROW_OPS, *ELEMENTWISE, *(SAMPLING if first else ()))
    return plan(ops, LENGTHS if first else FEW, [dtype], elements=ELEMENTS[dtype])


def everything(few: bool, dtypes: Sequence[str] = DTYPES, ops: Sequence[str] = OPS) -> list[Point]:
    """The points of a run; the few of bfloat16 at four lengths, or all of some formats."""
    chosen = [point for dtype in dtypes[: 1 if few else None] for point in points(dtype) if point.op in ops]
    return [point for point in chosen if not few or point.op not in ROW_OPS or point.length in FEW]


def backends(point: Point, compiled: Sequence[int] = COMPILED, uncompiled: Sequence[str] = ()) -> list[str]:
    """The libraries of a point; torch.compile at some lengths, of all operators but some."""
    few = point.op in ROW_OPS and point.dtype != DTYPES[0] and point.length != 4096
    left_out = {"torch.compile", "quack"} if few else set()
    if point.op in uncompiled or (point.op in ROW_OPS and point.length not in compiled):
        left_out.add("torch.compile")
    return [name for name in BACKENDS if name not in left_out]


def compile_part(part: int, parts: int, given: argparse.Namespace) -> None:
    """Fill the caches on disk with every `parts`-th point from `part`."""
    some, names = everything(given.few, given.dtypes, given.ops), {*given.only} & COMPILING
    todo = [
        (p, name) for p in some for name in backends(p, given.compiled, given.uncompiled) if name in names
    ]
    for point, name in todo[part::parts]:
        # torch has no top-p to compile.
        if point.op not in SAMPLING or name != "torch.compile":
            timing.prepare([point], [name], elements=point.rows * point.length)
            print(point, name, flush=True)


def accuracy(ops: list[str], folder: Path) -> None:
    """Errors, invariance and trials of some operators; FlashInfer last, whose compilation may take long."""
    report = BenchReport(torch.cuda.get_device_name(), versions(), 0)
    for some in ([name for name in BACKENDS if name != LATE], [LATE]):
        for op in ops:
            for dtype in DTYPES:
                names = [name for name in some if (name, dtype) != ("torch.compile", "float16")]
                survey(report, [op], [dtype], names)
                write(report.to_dict(), folder / f"accuracy_{'_'.join(ops)}.json")
                print(op, dtype, *some, flush=True)


def speed(folder: Path, wait: Path | None, given: argparse.Namespace) -> None:
    """Compile everything, or the kernels of some libraries, wait for the file, time."""
    chosen = everything(given.few, given.dtypes, given.ops)
    prepared = [timing.Prepared(point) for point in chosen]
    for some in (set(BACKENDS) - {"torch.compile", LATE}, {"torch.compile"}, {LATE}):
        some &= set(given.only)
        if not some:
            continue
        # What other processes compile for all (see the top) is only loaded here.
        compiled = Path(f"{wait}.{''.join(some)}") if len(some) == 1 else None
        while wait and compiled and not (wait.exists() or compiled.exists()):
            time.sleep(0.1)
        for one in prepared:
            names = [name for name in backends(one.point, given.compiled, given.uncompiled) if name in some]
            if wait and wait.exists() and compiled and not compiled.exists():
                late = Absent("was not compiled in time")
                one.absent += [absence(late, *key(one.point), name) for name in names]
            elif names:
                (more,) = timing.prepare([one.point], names, elements=ELEMENTS[one.point.dtype])
                one.variants += more.variants
                one.absent += more.absent
        print("compiled", *some, flush=True)
    ran = {built.backend for one in prepared for built in one.variants}
    timed = [point for point in points(DTYPES[0]) if point.op in given.ops]
    launched = timing.launches(timed, [name for name in BACKENDS if name in ran])
    if wait:
        Path(f"{wait}.ready").touch()
    while wait and not wait.exists():
        time.sleep(0.05)
    for elements in sorted({ELEMENTS[one.point.dtype] for one in prepared}, reverse=True):
        path = folder / f"speed_{elements}.json"

        def save(report: BenchReport, path: Path = path) -> None:
            write(report.to_dict(), path)

        same = [one for one in prepared if ELEMENTS[one.point.dtype] == elements]
        report = timing.measure(same, elements=elements, on_row=save)
        report.launches, launched = launched, []
        write(report.to_dict(), path)
        for line in table.speed(report)[1]:
            print(*line, flush=True)


def key(point: Point) -> tuple[str, int, str]:
    """What an absence names."""
    return point.op, point.length, point.dtype


def merge(folder: Path, path: Path) -> None:
    """The parts as one report."""
    files = sorted(folder.glob("speed_*.json"), reverse=True) + sorted(folder.glob("accuracy_*.json"))
    parts = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    whole = parts[0]
    for part in parts[1:]:
        for name, value in part.items():
            if isinstance(value, list):
                whole[name] += value
            elif isinstance(value, dict):
                whole[name].update(value)
    whole["absent"] = [dict(items) for items in dict.fromkeys(tuple(a.items()) for a in whole["absent"])]
    write(whole, path)


def write(report: dict[str, Any], path: Path) -> None:
    """JSON with a line for each row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines(rounded(report))) + "\n", encoding="utf-8")


def lines(report: dict[str, Any]) -> Iterator[str]:
    """The lines of that JSON."""
    yield "{"
    for i, (name, value) in enumerate(report.items(), start=1):
        comma = "," if i < len(report) else ""
        if isinstance(value, list) and value:
            yield f' "{name}": ['
            yield ",\n".join(f"  {json.dumps(row)}" for row in value)
            yield f" ]{comma}"
        else:
            yield f' "{name}": {json.dumps(value)}{comma}'
    yield "}"


def rounded(value: Any) -> Any:
    """Eight digits are more than a time has; what is not finite is null, as the command prints it."""
    if isinstance(value, float):
        return float(f"{value:.8g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list | tuple) else value


def _choice(step: argparse.ArgumentParser) -> None:
    step.add_argument("--few", action="store_true", help="bfloat16 at four lengths only")
    step.add_argument("--dtypes", nargs="+", default=list(DTYPES), choices=list(DTYPES))
    step.add_argument("--only", nargs="+", default=list(BACKENDS), choices=list(BACKENDS))
    lengths = list(COMPILED)
    step.add_argument("--compiled", nargs="+", type=int, default=lengths, help="lengths with torch.compile")
    step.add_argument("--uncompiled", nargs="+", default=[], choices=list(OPS), help="operators without it")
    step.add_argument("--ops", nargs="+", default=list(OPS), choices=list(OPS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    step = steps.add_parser("compile")
    step.add_argument("part", type=int)
    step.add_argument("parts", type=int)
    _choice(step)
    step = steps.add_parser("accuracy")
    step.add_argument("ops", nargs="+")
    step.add_argument("--output", type=Path, required=True)
    step = steps.add_parser("speed")
    step.add_argument("--output", type=Path, required=True)
    _choice(step)
    step.add_argument("--wait", type=Path, help="file to wait for; see the source for FILE.*")
    step = steps.add_parser("merge")
    step.add_argument("folder", type=Path)
    step.add_argument("path", type=Path)
    given = parser.parse_args()
    torch.set_grad_enabled(False)
    if given.step == "compile":
        compile_part(given.part, given.parts, given)
    elif given.step == "accuracy":
        accuracy(given.ops, given.output)
    elif given.step == "speed":
        speed(given.output, given.wait, given)
    else:
        merge(given.folder, given.path)


if __name__ == "__main__":
    main()
