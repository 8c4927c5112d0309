"""Speed of the Triton kernels as a share of device copy, beside torch eager and torch.compile.

Every tensor holds 2^28 bfloat16 numbers (512 MiB, ten times the L2 of an H100) and the calls rotate over two
sets of random ones, so no call finds its input in a cache. A time is the median of at least 30 calls, each
between two CUDA events. The share is useful bytes (inputs once, outputs once) over that time, against a
device-to-device copy of a tensor of that size in the same run.

    python packages/stable-ops/benchmarks/gpu.py --output packages/stable-ops/benchmarks/results/gpu_h100.json
    python packages/stable-ops/benchmarks/gpu.py --show packages/stable-ops/benchmarks/results/gpu_h100.json

The second prints a file of results and needs no GPU.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shlex
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
import triton

import stable_ops
from stable_ops.ops.triton.tiers import tier

LENGTHS = (1024, 4096, 16384, 32768, 65536)
ELEMENTS = 2**28
SETS = 2
CALLS = 31
VARIANTS = ("stable_ops", "eager", "compile")

Call = Callable[..., Any]
OPS: dict[str, tuple[Call, Call]] = {
    "softmax": (stable_ops.softmax, lambda x: torch.softmax(x, -1)),
    "log_softmax": (stable_ops.log_softmax, lambda x: torch.log_softmax(x, -1)),
    "logsumexp": (stable_ops.logsumexp, lambda x: torch.logsumexp(x, -1)),
    "layer_norm": (stable_ops.layer_norm, lambda x, w, b: F.layer_norm(x, w.shape, w, b, 1e-5)),
    "rms_norm": (stable_ops.rms_norm, lambda x, w: F.rms_norm(x, w.shape, w, 1e-6)),
    "gelu": (stable_ops.gelu, F.gelu),
    "silu": (stable_ops.silu, F.silu),
    "swiglu": (stable_ops.swiglu, lambda gate, up: F.silu(gate) * up),
}
ELEMENTWISE = ("gelu", "silu", "swiglu")


def draw(*shape: int) -> Any:
    return torch.randn(shape, dtype=torch.bfloat16, device="cuda")


def operands(op: str, length: int, elements: int) -> tuple[Any, ...]:
    x = draw(elements // length, length)
    vectors = {"layer_norm": 2, "rms_norm": 1}.get(op, 0)
    more = (torch.randn_like(x),) if op == "swiglu" else ()
    return (x, *more, *(draw(length) for _ in range(vectors)))


def useful_bytes(op: str, inputs: tuple[Any, ...], output: Any) -> int:
    return sum(x.nbytes for x in (*inputs, output))


def median_s(function: Call, sets: list[tuple[Any, ...]], calls: int = CALLS) -> float:
    """Median time of one call; three calls first, which compile."""
    for inputs in (*sets, sets[0]):
        function(*inputs)
    events = [
        (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(calls)
    ]
    torch.cuda.synchronize()
    for i, (start, stop) in enumerate(events):
        start.record()
        function(*sets[i % len(sets)])
        stop.record()
    torch.cuda.synchronize()
    return statistics.median(start.elapsed_time(stop) for start, stop in events) / 1e3


def copy_bytes_per_s() -> float:
    sets = [(draw(ELEMENTS), draw(ELEMENTS)) for _ in range(SETS)]
    return 2 * sets[0][0].nbytes / median_s(lambda x, y: y.copy_(x), sets)


def points(ops: list[str]) -> Iterator[tuple[str, int]]:
    """Elementwise operators do not know the length of a row: one point is enough."""
    for op in ops:
        yield from ((op, length) for length in (LENGTHS if op not in ELEMENTWISE else LENGTHS[1:2]))


def variant(op: str, name: str) -> Call:
    ours, eager = OPS[op]
    if name == "compile":
        torch.compiler.reset()
        compiled: Call = torch.compile(eager, dynamic=False)
        return compiled
    return {"stable_ops": ours, "eager": eager}[name]


def compile_only(ops: list[str]) -> None:
    """Fill torch.compile's cache on disk, so that a timed run need not wait for it."""
    for op, length in points(ops):
        variant(op, "compile")(*operands(op, length, ELEMENTS))


def measure(row: dict[str, Any], name: str, copy: float) -> None:
    op, length = row["op"], row["n"]
    sets = [operands(op, length, ELEMENTS) for _ in range(SETS)]
    function = variant(op, name)
    nbytes = useful_bytes(op, sets[0], function(*sets[0]))
    seconds = median_s(function, sets)
    row[f"{name}_s"] = seconds
    row[f"{name}_share_of_copy"] = round(nbytes / seconds / copy, 4)


def record(rows: list[dict[str, Any]], copy: float, accuracy: Path | None) -> dict[str, Any]:
    lines = accuracy.read_text(encoding="utf-8").splitlines() if accuracy and accuracy.exists() else []
    measured = sorted((json.loads(line) for line in lines), key=lambda line: (line["op"], line["dtype"]))
    return {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "command": shlex.join(
            ["python", *(Path(word).name if Path(word).is_absolute() else word for word in sys.argv)]
        ),
        "device": torch.cuda.get_device_name(),
        "versions": {"torch": torch.__version__, "triton": triton.__version__},
        "dtype": "bfloat16",
        "elements": ELEMENTS,
        "calls": CALLS,
        "copy_bytes_per_s": copy,
        "speed": rows,
        "accuracy_command": "STABLE_OPS_ACCURACY=accuracy.jsonl scripts/gpu_tests.sh",
        "accuracy": measured,
    }


def table(rows: list[dict[str, Any]]) -> None:
    print("| op | N | tier | " + " | ".join(VARIANTS) + " |\n" + "| --- " * (3 + len(VARIANTS)) + "|")
    for row in rows:
        shares = " | ".join(f"{row.get(f'{name}_share_of_copy', float('nan')):.2f}" for name in VARIANTS)
        print(f"| {row['op']} | {row['n']} | {row['tier']} | {shares} |")


def accuracy_table(lines: list[dict[str, Any]]) -> None:
    print("| op | dtype | tier | max ulp | misrounded | outputs |\n" + "| --- " * 6 + "|")
    for line in lines:
        names = f"| {line['op']} | {line['dtype']} | {line['tier']} "
        print(f"{names}| {line['max_ulp']:.5f} | {line['misrounded']} | {line['outputs']} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    parser.add_argument(
        "--accuracy", type=Path, help="lines written by the GPU tests, taken into the results"
    )
    parser.add_argument("--ops", nargs="+", default=list(OPS), choices=list(OPS))
    parser.add_argument("--compile-only", action="store_true", help="fill torch.compile's cache and end")
    parser.add_argument(
        "--show", type=Path, metavar="FILE", help="print the tables of a file of results and end"
    )
    arguments = parser.parse_args()
    if arguments.show:
        results = json.loads(arguments.show.read_text(encoding="utf-8"))
        table(results["speed"])
        accuracy_table(results["accuracy"])
        return
    torch.manual_seed(0)
    if arguments.compile_only:
        compile_only(arguments.ops)
        return
    copy = copy_bytes_per_s()
    print(f"copy: {copy / 1e12:.3f} TB/s")
    rows: list[dict[str, Any]] = [
        {"op": op, "n": n, "tier": tier(op, "bfloat16")} for op, n in points(arguments.ops)
    ]
    # Written after each step: a run that is cut short leaves what it has.
    for name in VARIANTS:
        for row in rows:
            measure(row, name, copy)
            if arguments.output:
                text = json.dumps(record(rows, copy, arguments.accuracy), indent=1)
                arguments.output.write_text(text + "\n", encoding="utf-8")
    table(rows)


if __name__ == "__main__":
    main()
