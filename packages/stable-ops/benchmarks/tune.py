"""Launch settings of the kernels for long and short rows, timed beside a copy: what the plans are chosen by.

    tune=packages/stable-ops/benchmarks/tune.py
    for i in $(seq 0 13); do python $tune compile $i 14 & done; wait     # fills Triton's cache on disk
    python $tune time --output tune.json    # shares of copy, those of the plan among them

Every setting is also compared with the one that the plan has: bits that differ are counted (norms: none may).
"""

from __future__ import annotations

import argparse
import datetime
import functools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton

from stable_ops.ops.triton import norms, softmax
from stable_ops.ops.triton.norm_plan import Plan
from stable_ops.ops.triton.norm_plan import plan as plain
from stable_ops.ops.triton.softmax_plan import Plan as SoftmaxPlan
from stable_ops.ops.triton.softmax_rows import LOG_SOFTMAX as LOG_SOFTMAX_OP
from stable_ops.ops.triton.softmax_rows import SOFTMAX as SOFTMAX_OP

ELEMENTS = 2**28
ROUNDS = 21
DEVICE = torch.device("cuda", 0)
PROCESSORS = torch.cuda.get_device_properties(DEVICE).multi_processor_count
# Elements of a part, or of what is read at a time of a row that is read twice; parts; warps, registers, rows.
NORMS: dict[int, list[tuple[int, int, int, int | None, int]]] = {
    16384: [(16384, 1, 8, 128, 1), (4096, 1, 8, 64, 1)],
    32768: [(32768, 1, 16, 128, 1), (8192, 1, 16, 64, 1), (4096, 8, 2, 96, 1)],
    65536: [(8192, 1, 16, 64, 1), (16384, 1, 32, 64, 1), (4096, 16, 2, 96, 1)],
    131072: [(8192, 1, 16, 64, 1), (16384, 1, 32, 64, 1), (4096, 32, 2, 96, 1)],
    262144: [(16384, 1, 32, 64, 1), (8192, 32, 4, 96, 1)],
}
# Elements of a part, warps, registers.
SOFTMAX: dict[int, list[tuple[int, int, int | None]]] = {
    length: [(8192, 4, 80)] for length in (32768, 65536, 131072, 262144)
}


@dataclass(frozen=True)
class Setting:
    """A launch of an operator; no plan is the operator as it is called."""

    op: str
    length: int
    plan: Any
    label: str

    def call(self) -> Callable[..., Any]:
        """What computes rows x, into a new tensor."""
        if self.op in ("softmax", "log_softmax"):
            return self._softmax()
        centre = self.op == "layer_norm"
        constants = {
            "EPS": 1e-5 if centre else 1e-6,
            "OFFSET": 0.0,
            "CENTRE": centre,
            "TWICE": False,
            "SCALE": True,
            "SHIFT": centre,
        }
        start = norms.launched(self.plan, self.length, DEVICE, PROCESSORS, constants)

        def norm(x: Any, w: Any, b: Any) -> Any:
            y = torch.empty_like(x)
            start(len(x), x, w, b, y)
            return y

        return norm

    def _softmax(self) -> Callable[..., Any]:
        ops = {"softmax": SOFTMAX_OP.value, "log_softmax": LOG_SOFTMAX_OP.value}
        start = softmax.launched(self.plan, self.length, ops[self.op], torch.bfloat16, DEVICE)

        def probabilities(x: Any, w: Any, b: Any) -> Any:
            y = torch.empty_like(x)
            start(x, y, len(x))
            return y

        return probabilities


def settings() -> Iterator[Setting]:
    """All of them."""
    for op in ("rms_norm", "layer_norm"):
        for length, choices in NORMS.items():
            for part, parts, warps, registers, rows in choices:
                plan = Plan(part, warps, rows=rows, parts=parts, registers=registers, fours=True)
                label = f"{parts}x{part} rows={rows} warps={warps} registers={registers}"
                yield Setting(op, length, plan, label)
            yield Setting(
                op, length, plain(length, centre=op == "layer_norm", processors=PROCESSORS), "float64"
            )
    for op in ("softmax",):
        for length, more in SOFTMAX.items():
            for part, warps, registers in more:
                parts = length // part
                wide = SoftmaxPlan("parts", part, warps, parts=parts, pairs=True, registers=registers)
                label = f"{parts}x{part} warps={warps} registers={registers}"
                yield Setting(op, length, wide, label)


def operands(length: int, count: int) -> tuple[Any, Any, Any]:
    """Rows, weights and biases."""
    generator = torch.Generator(DEVICE).manual_seed(length)
    draw: dict[str, Any] = {"generator": generator, "dtype": torch.bfloat16, "device": DEVICE}
    return torch.randn(count, length, **draw), torch.randn(length, **draw), torch.randn(length, **draw)


def reference(op: str) -> Callable[..., Any]:
    """The operator as it is called."""
    return {
        "rms_norm": lambda x, w, b: norms.rms_norm(x, w, eps=1e-6, form="exact", axis=-1),
        "layer_norm": lambda x, w, b: norms.layer_norm(x, w, b, eps=1e-5, axis=-1),
        "softmax": lambda x, w, b: softmax.softmax(x),
        "log_softmax": lambda x, w, b: softmax.log_softmax(x),
    }[op]


def compile_part(part: int, parts: int) -> None:
    """Start every `parts`-th setting once."""
    for one in list(settings())[part::parts]:
        try:
            one.call()(*operands(one.length, 4))
            torch.cuda.synchronize()
        except Exception as error:
            print(one.op, one.length, one.label, type(error).__name__, str(error)[:200], flush=True)


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
            "plan": functools.partial(reference(op), *given),
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    step = steps.add_parser("compile")
    step.add_argument("part", type=int)
    step.add_argument("parts", type=int)
    step = steps.add_parser("time")
    step.add_argument("--output", type=Path, required=True)
    step.add_argument("--only", nargs="+", default=[])
    given = parser.parse_args()
    if given.step == "compile":
        compile_part(given.part, given.parts)
    else:
        run(given.output, given.only)


if __name__ == "__main__":
    main()
