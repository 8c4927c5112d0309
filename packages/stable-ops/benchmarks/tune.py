"""Launch settings of the kernels in CUDA C++, timed beside a copy and the kernels in Triton.

    tune=packages/stable-ops/benchmarks/tune.py
    for i in $(seq 0 8); do python $tune compile $i 9 & done; wait     # fills the caches on disk
    python $tune time --output tune.json
    python $tune choose tune.json --output packages/stable-ops/src/stable_ops/ops/cuda/plans.json

Every setting is also compared with the kernel in Triton: bits that differ are counted (norms: none may).
The last step takes the fastest setting of each length, or none where the kernel in Triton is as fast; lengths
that no file has keep what they have.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import itertools
import json
import re
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton

from stable_ops.ops.cuda import rows as clusters
from stable_ops.ops.triton import norms, softmax

ELEMENTS = 2**28
ROUNDS = 21
DEVICE = torch.device("cuda", 0)
# A setting is taken if it is so much faster.
GAIN = 1.005
# Numbers to a block, threads of a team, teams, stages, blocks to a multiprocessor, vectors in float32; each
# with and without marking what is used once.
Clusters = tuple[int, int, int, int, int, bool]
LONG: list[Clusters] = [(8192, 128, 4, 2, 1, True), (8192, 64, 8, 1, 1, True), (8192, 128, 6, 1, 1, True)]
SOFTMAX: dict[int, list[Clusters]] = {
    16384: [
        (16384, 256, 3, 2, 1, True),
        (16384, 256, 2, 3, 1, True),
        (16384, 512, 1, 6, 1, True),
        (16384, 128, 6, 1, 1, True),
        (8192, 128, 6, 2, 1, True),
    ],
    32768: [(32768, 512, 1, 3, 1, True)],
    65536: [
        (8192, 128, 4, 2, 1, True),
        (8192, 128, 6, 2, 1, True),
        (8192, 128, 8, 1, 1, True),
        (16384, 256, 3, 2, 1, True),
    ],
    131072: [
        (16384, 256, 3, 2, 1, True),
        (16384, 128, 6, 1, 1, True),
        (8192, 128, 4, 2, 1, True),
        (8192, 128, 6, 2, 1, True),
    ],
    262144: [(16384, 256, 3, 2, 1, True)],
}
LAYER_NORM: dict[int, list[Clusters]] = {
    1024: [(1024, 32, 16, 4, 1, True), (1024, 32, 24, 2, 1, True), (1024, 32, 16, 2, 1, True)],
    4096: [
        (4096, 64, 8, 2, 1, True),
        (4096, 64, 12, 1, 1, True),
        (4096, 32, 16, 1, 1, True),
        (4096, 64, 10, 2, 1, True),
    ],
    8192: [*LONG, (8192, 64, 9, 1, 1, True)],
    16384: [*LONG, (16384, 128, 4, 1, 1, False), (16384, 256, 2, 2, 1, False)],
    32768: LONG,
    65536: LONG,
    131072: LONG,
    262144: [(16384, 128, 4, 1, 1, False), (16384, 256, 2, 2, 1, False)],
}
RMS_NORM: dict[int, list[Clusters]] = {
    16384: [*LONG, (16384, 128, 4, 1, 1, True), (16384, 256, 2, 2, 1, True), (8192, 64, 10, 1, 1, True)],
    32768: [*LONG, (16384, 128, 4, 1, 1, True), (16384, 256, 2, 2, 1, True), (8192, 128, 5, 2, 1, True)],
    65536: [*LONG, (16384, 128, 4, 1, 1, True), (8192, 128, 5, 2, 1, True)],
    131072: [*LONG, (16384, 128, 4, 1, 1, True), (16384, 256, 2, 2, 1, True)],
    262144: [(16384, 128, 4, 1, 1, True), (16384, 256, 2, 2, 1, True), (32768, 512, 1, 2, 1, False)],
}
# What the operators are without the kernels that are tuned here.
norms.available = softmax.available = lambda device: False


@dataclass(frozen=True)
class Setting:
    """A launch of an operator."""

    op: str
    length: int
    plan: clusters.Plan
    label: str

    def call(self) -> Callable[..., Any]:
        """What computes rows x, into a new tensor."""
        if self.op == "softmax":
            begin = clusters.softmax(self.plan, self.length, DEVICE)
        else:
            centre = self.op == "layer_norm"
            form = {"centre": centre, "twice": False, "scale": True, "shift": centre}
            eps = 1e-5 if centre else 1e-6
            start = clusters.norms(self.plan, self.length, DEVICE, bf16=True, eps=eps, offset=0.0, **form)

        def rows(x: Any, w: Any, b: Any) -> Any:
            y = torch.empty_like(x)
            if self.op == "softmax":
                begin(x, y, len(x))
            else:
                start(len(x), x, w, b, y)
            return y

        return rows


def settings() -> Iterator[Setting]:
    """All of them."""
    for op, choices in (("softmax", SOFTMAX), ("layer_norm", LAYER_NORM), ("rms_norm", RMS_NORM)):
        for length, several in choices.items():
            for fields, streamed in itertools.product(several, (False, True)):
                plan = clusters.Plan(*fields, streamed)
                size = f"{plan.blocks(length)}x{plan.part} threads={plan.threads} teams={plan.teams}"
                more = f"stages={plan.stages} resident={plan.resident}{'' if plan.wide else ' narrow'}"
                more += " streamed" if streamed else ""
                yield Setting(op, length, plan, f"{size} {more}")


def operands(length: int, count: int) -> tuple[Any, Any, Any]:
    """Rows, weights and biases."""
    generator = torch.Generator(DEVICE).manual_seed(length)
    draw: dict[str, Any] = {"generator": generator, "dtype": torch.bfloat16, "device": DEVICE}
    return torch.randn(count, length, **draw), torch.randn(length, **draw), torch.randn(length, **draw)


def reference(op: str) -> Callable[..., Any]:
    """The operator by its kernels in Triton."""
    return {
        "rms_norm": lambda x, w, b: norms.rms_norm(x, w, eps=1e-6, form="exact", axis=-1),
        "layer_norm": lambda x, w, b: norms.layer_norm(x, w, b, eps=1e-5, axis=-1),
        "softmax": lambda x, w, b: softmax.softmax(x),
    }[op]


def compile_part(part: int, parts: int, only: list[str]) -> None:
    """Start every `parts`-th setting once, and the operators as they are called."""
    some = [one for one in settings() if not only or one.op in only]
    plans = dict.fromkeys((one.op, one.length) for one in some)
    todo: list[tuple[str, int, Setting | None]] = [(op, length, None) for op, length in plans]
    todo += [(one.op, one.length, one) for one in some]
    for op, length, one in todo[part::parts]:
        try:
            (one.call() if one else reference(op))(*operands(length, 4))
            torch.cuda.synchronize()
        except Exception as error:
            print(op, length, one and one.label, type(error).__name__, str(error)[:200], flush=True)


def timed(calls: dict[str, Callable[[], Any]], flush: Any) -> dict[str, float]:
    """Medians in milliseconds of calls in turn, each after 512 MiB were written."""
    event: Any = torch.cuda.Event
    events: dict[str, list[Any]] = {name: [] for name in calls}
    names = list(calls)
    for name in names:
        calls[name]()
    torch.cuda.synchronize()
    for i in range(ROUNDS):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            start, stop = (event(enable_timing=True) for _ in range(2))
            flush.zero_()
            start.record()
            calls[name]()
            stop.record()
            events[name].append((start, stop))
    torch.cuda.synchronize()
    return {name: statistics.median(a.elapsed_time(b) for a, b in pairs) for name, pairs in events.items()}


def run(path: Path, only: list[str]) -> None:
    """Time all settings, a length at a time."""
    flush = torch.empty(2**27, dtype=torch.int32, device=DEVICE)
    rows: list[dict[str, Any]] = []
    about = {
        "device": torch.cuda.get_device_name(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "versions": {"torch": torch.__version__, "triton": triton.__version__},
        "elements": ELEMENTS,
        "dtype": "bfloat16",
    }
    groups: dict[tuple[str, int], list[Setting]] = {}
    for one in settings():
        groups.setdefault((one.op, one.length), []).append(one)
    for (op, length), some in groups.items():
        if only and op not in only:
            continue
        began = time.perf_counter()
        given = operands(length, ELEMENTS // length)
        target = torch.empty_like(given[0])
        exact = reference(op)(*given)
        calls: dict[str, Callable[[], Any]] = {
            "copy": functools.partial(target.copy_, given[0]),
            "triton": functools.partial(reference(op), *given),
        }
        differ: dict[str, int] = {}
        for one in some:
            try:
                call = one.call()
                y = call(*given)
                torch.cuda.synchronize()
            except Exception as error:
                print(op, length, one.label, type(error).__name__, str(error)[:300], flush=True)
                continue
            differ[one.label] = int(((y != exact) & ~(y.isnan() & exact.isnan())).sum())
            calls[one.label] = functools.partial(call, *given)
        medians = timed(calls, flush)
        shares = {name: medians["copy"] / ms for name, ms in medians.items()}
        rows.append({"op": op, "length": length, "ms": medians, "of_copy": shares, "differ": differ})
        path.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n", encoding="utf-8")
        speed, taken = 4 * ELEMENTS / medians["copy"] / 1e6, time.perf_counter() - began
        print(f"{op} {length}: copy {speed:.0f} GB/s, {taken:.1f} s")
        for name, share in sorted(shares.items(), key=lambda item: -item[1]):
            if name != "copy":
                print(f"  {share:.3f} {name} {differ.get(name, '')}", flush=True)


def choose(files: list[Path], path: Path) -> None:
    """The fastest setting of each length in the files."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"plans": {}}
    for file in files:
        run = json.loads(file.read_text(encoding="utf-8"))
        kept |= {name: run[name] for name in ("device", "date", "versions")}
        for row in run["rows"]:
            plans = dict(kept["plans"].get(row["op"], [])) | {row["length"]: _fastest(row)}
            kept["plans"][row["op"]] = sorted(map(list, plans.items()))
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def _fastest(row: dict[str, Any]) -> list[int] | None:
    """Its plan, if it is faster than the kernel in Triton; a norm's also has to have the same bits."""
    right = {
        label: share
        for label, share in row["of_copy"].items()
        if "threads=" in label and (row["op"] == "softmax" or row["differ"][label] == 0)
    }
    best = max(right, key=right.__getitem__, default=None)
    if best is None or right[best] < GAIN * row["of_copy"]["triton"]:
        return None
    _, *fields = map(int, re.findall(r"\d+", best))
    return [*fields, int("narrow" not in best), int("streamed" in best)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    step = steps.add_parser("compile")
    step.add_argument("part", type=int)
    step.add_argument("parts", type=int)
    step.add_argument("--only", nargs="+", default=[])
    step = steps.add_parser("time")
    step.add_argument("--output", type=Path, required=True)
    step.add_argument("--only", nargs="+", default=[])
    step = steps.add_parser("choose")
    step.add_argument("files", type=Path, nargs="+")
    step.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    if given.step == "choose":
        choose(given.files, given.output)
    elif given.step == "compile":
        compile_part(given.part, given.parts, given.only)
    else:
        run(given.output, given.only)


if __name__ == "__main__":
    main()
