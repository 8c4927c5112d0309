"""Both forms on a CPU against scipy.special and torch, in turn: cpu.py [--output FILE] | cpu.py --show FILE

"numpy" is the numpy form in a program that has imported torch, whose exponential it then uses, "alone" in
one that has not; "numpy+" and "torch+" are those forms after `stable_ops.accelerate()`. Every point calls
ours and the peer one after the other, in an order that changes, on the same input; a ratio is the peer's
time over ours in the same round, so what else the machine does falls on both. "fresh" results are new
memory of 32 to 128 MB, as the first call of a program sees it; "warm" ones, 2^20 numbers, come back from
the allocator and stay in the outer cache. Errors, in ulp of the dtype, are of rows of one input against
longer arithmetic. --one-core runs every form on one thread and takes the time that the processor spent on
it, for a machine that is busy with other work. On two cores of a larger machine: OMP_NUM_THREADS=2 taskset
-c 0,1.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import stable_ops
from stable_ops import blocks
from stable_ops.bench.cpu import _device, variant
from stable_ops.ops import tensors
from stable_ops.testing.oracles import ORACLES, truth
from stable_ops.testing.ulp import error_ulp

Clock = Callable[[], float]
SIZES = {"fresh": 2**24, "warm": 2**20}
LENGTHS = (256, 4096, 65_536)
ROWWISE = ("softmax", "log_softmax", "logsumexp")
NORMS = ("rms_norm", "layer_norm")
ELEMENTWISE = ("gelu", "silu", "swiglu")
# Our form, the peer, and what of it.
PAIRS = (
    ("numpy", "scipy", ROWWISE, ("float32", "float64"), LENGTHS),
    ("numpy", "scipy", ELEMENTWISE, ("float32",), (4096,)),
    ("torch", "torch", (*ROWWISE, *NORMS), ("float32", "bfloat16", "float16"), LENGTHS),
    ("torch", "torch", ELEMENTWISE, ("float32", "bfloat16", "float16"), (4096,)),
    ("numpy+", "scipy", ROWWISE, ("float32",), LENGTHS),
    ("numpy+", "scipy", ELEMENTWISE, ("float32",), (4096,)),
    ("torch+", "torch", (*ROWWISE, *NORMS), ("float32",), LENGTHS),
    ("torch+", "torch", (*ROWWISE, *NORMS), ("bfloat16", "float16"), (4096,)),
    ("torch+", "torch", ("gelu", "silu"), ("float32",), (4096,)),
    ("torch+", "torch", ("swiglu",), ("float32", "bfloat16", "float16"), (4096,)),
    ("alone", "scipy", (*ROWWISE, *ELEMENTWISE), ("float32",), (4096,)),
)


def points() -> Iterator[dict[str, Any]]:
    for form, peer, operators, dtypes, lengths in PAIRS:
        for op, dtype, length, size in itertools.product(operators, dtypes, lengths, SIZES):
            names = ("form", "peer", "op", "dtype", "length", "size")
            yield dict(zip(names, (form, peer, op, dtype, length, size), strict=True))


def measure(point: dict[str, Any], rounds: int, clock: Clock) -> dict[str, Any]:
    op, size = point["op"], SIZES[point["size"]]
    inputs = operands(op, point["dtype"], size, point["length"], point["form"])
    tensors.at_hand = lambda: point["form"] != "alone"
    stable_ops.accelerate(point["form"].endswith("+"))
    ours, theirs = (variant(backend, op).call for backend in ("stable_ops/numpy", point["peer"]))
    # Several calls are one measurement where one call is short.
    calls = max(1, 2**22 // size)
    for call in (ours, theirs):
        seconds(call, inputs, calls, clock)
    times: dict[Any, list[float]] = {ours: [], theirs: []}
    for i in range(rounds):
        for call in (ours, theirs) if i % 2 else (theirs, ours):
            times[call].append(seconds(call, inputs, calls, clock))
    ratios = [b / a for a, b in zip(times[ours], times[theirs], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return point | {
        "ours_ns_per_number": 1e9 * statistics.median(times[ours]) / size,
        "peer_ns_per_number": 1e9 * statistics.median(times[theirs]) / size,
        "ratio_quartiles": [low, middle, high],
        "ours_max_ulp": worst(ours, op, inputs),
        "peer_max_ulp": worst(theirs, op, inputs),
    }


def seconds(call: Any, inputs: tuple[Any, ...], calls: int, clock: Clock) -> float:
    began = clock()
    for _ in range(calls):
        call(*inputs)
    return (clock() - began) / calls


def operands(op: str, dtype: str, size: int, length: int, form: str) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"x": (size // length, length), "up": (size // length, length)}
    drawn = (
        torch.randn(shapes.get(name, (length,)), generator=generator).to(getattr(torch, dtype))
        for name in ORACLES[op].arguments
    )
    return tuple(x if form.startswith("torch") else x.numpy() for x in drawn)


def worst(call: Any, op: str, inputs: tuple[Any, ...]) -> float:
    few = tuple(x[: max(1, 2**17 // x.shape[-1])] if x.ndim == 2 else x for x in inputs)
    exact = truth(op, *(np.asarray(x.double() if torch.is_tensor(x) else x) for x in few))
    return float(error_ulp(call(*few), exact, floor=ORACLES[op].floor).max())


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["form  peer  op          dtype    length  size  ours ns  peer ns  ratio (quartiles)   max ulp"]
    for r in rows:
        low, middle, high = r["ratio_quartiles"]
        lines.append(
            f"{r['form']:5} {r['peer']:5} {r['op']:11} {r['dtype']:8} {r['length']:6} {r['size']:5} "
            f"{r['ours_ns_per_number']:8.2f} {r['peer_ns_per_number']:8.2f}  "
            f"{middle:5.2f} ({low:.2f}-{high:.2f})  {r['ours_max_ulp']:10.3g} {r['peer_max_ulp']:.3g}"
        )
    return "\n".join(lines)


def _command(options: argparse.Namespace) -> str:
    words = ["python packages/stable-ops/benchmarks/cpu.py"]
    words += ["--form", *options.form] if options.form else []
    words += [f"--{name} {value}" for name in ("op", "length") if (value := getattr(options, name))]
    words += ["--rounds", str(options.rounds), *(["--one-core"] if options.one_core else []), "--output FILE"]
    return " ".join(words)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--output", type=Path, help="Write the rows here as JSON, after every point.")
    arguments.add_argument("--show", type=Path, help="Print the table of an earlier run.")
    arguments.add_argument(
        "--form", nargs="+", choices=sorted({pair[0] for pair in PAIRS}), help="Some of them."
    )
    arguments.add_argument("--op", help="One operator.")
    arguments.add_argument("--length", type=int, help="One length of rows.")
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--one-core", action="store_true", help="Processor time of one thread.")
    options = arguments.parse_args()
    if options.show:
        print(table(json.loads(options.show.read_text(encoding="utf-8"))["rows"]))
        return
    clock: Clock = time.perf_counter
    if options.one_core:
        clock, blocks.cores = time.process_time, lambda: 1
        torch.set_num_threads(1)
    result: dict[str, Any] = {
        "device": _device(),
        "time": "processor, one thread" if options.one_core else "wall",
        "cores": blocks.cores(),
        "torch_threads": torch.get_num_threads(),
        "command": _command(options),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "versions": {name: version(name) for name in ("numpy", "scipy", "torch", "numba")},
        "rounds": options.rounds,
        "numbers": SIZES,
        "load_average_before": os.getloadavg(),
        "rows": [],
    }
    print(table([]))
    for point in points():
        wanted = all(getattr(options, name) in (None, point[name]) for name in ("op", "length"))
        if wanted and (options.form is None or point["form"] in options.form):
            result["rows"].append(measure(point, options.rounds, clock))
            print(table(result["rows"][-1:]).splitlines()[1], flush=True)
            if options.output:
                result["load_average_after"] = os.getloadavg()
                options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
