"""Whether compiled loops give the bits of the plain forms: compiled_bits.py [--output FILE] [--chunks N]

gelu, its tanh form and silu at all 2^32 float32 numbers; swiglu and the rows' operators on random operands of
every exponent and on rows of the property tests' generators. A NaN is one number. FILE is written after every
operator, and goes on where it stopped; --chunks looks at the first few of 1,024 chunks only.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import json
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import stable_ops
from stable_ops.bench.cpu import _device as device_name
from stable_ops.testing.inputs import KINDS, draw

CHUNKS, NUMBERS = 1024, 2**22
ELEMENTS: dict[str, Callable[..., Any]] = {
    "gelu": stable_ops.gelu,
    "gelu, tanh": functools.partial(stable_ops.gelu, approximate="tanh"),
    "silu": stable_ops.silu,
}
ROWS: dict[str, Callable[..., Any]] = {
    "softmax": stable_ops.softmax,
    "log_softmax": stable_ops.log_softmax,
    "logsumexp": stable_ops.logsumexp,
    "rms_norm": stable_ops.rms_norm,
    "rms_norm, hf": functools.partial(stable_ops.rms_norm, form="hf"),
    "layer_norm": stable_ops.layer_norm,
}
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
LENGTHS = (7, 128, 1000, 4096)


def every_number(chunk: int) -> tuple[Any]:
    codes = np.arange(chunk * NUMBERS, (chunk + 1) * NUMBERS, dtype=np.uint32)
    return (torch.from_numpy(codes.view(np.float32)),)


def pairs(dtype: Any, chunk: int) -> tuple[Any, Any]:
    """Of every exponent, beside ordinary gates."""
    rng = np.random.default_rng(chunk)
    codes = torch.from_numpy(rng.integers(0, 2**32, NUMBERS, dtype=np.uint32).view(np.float32))
    gate = torch.from_numpy(rng.standard_normal(NUMBERS).astype(np.float32) * 2.0 ** rng.integers(-3, 6))
    return gate.to(dtype), codes.to(dtype)


def rows(dtype: Any, chunk: int) -> tuple[Any]:
    length = LENGTHS[chunk % len(LENGTHS)]
    kind = list(KINDS)[chunk % len(KINDS)]
    return (torch.from_numpy(draw(kind, chunk, (NUMBERS // 4 // length, length))).to(dtype),)


def points() -> Iterator[tuple[str, Any, int, Callable[..., Any], Callable[[int], tuple[Any, ...]]]]:
    for op, call in ELEMENTS.items():
        yield op, torch.float32, CHUNKS, call, every_number
    for dtype in DTYPES:
        yield "swiglu", dtype, 40, stable_ops.swiglu, functools.partial(pairs, dtype)
        for op, call in ROWS.items():
            yield op, dtype, 40, call, functools.partial(rows, dtype)


def differing(call: Callable[..., Any], operands: tuple[Any, ...]) -> tuple[int, int]:
    found = []
    for on in (False, True):
        stable_ops.accelerate(on)
        found.append(call(*operands).view(torch.int32 if operands[0].dtype.itemsize == 4 else torch.int16))
    plain, compiled = found
    other = plain != compiled
    if other.any():
        dtype = operands[0].dtype
        other &= ~(plain.view(dtype).isnan() & compiled.view(dtype).isnan())
    return int(other.sum()), plain.numel()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--output", type=Path)
    arguments.add_argument("--chunks", type=int, default=CHUNKS)
    options = arguments.parse_args()
    result: dict[str, Any] = {
        "device": device_name(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "command": "python packages/stable-ops/benchmarks/compiled_bits.py --output FILE",
        "versions": {name: version(name) for name in ("numpy", "torch", "numba")},
        "rows": [],
    }
    if options.output and options.output.is_file():
        result["rows"] = json.loads(options.output.read_text(encoding="utf-8"))["rows"]
    done = {(row["op"], row["dtype"]) for row in result["rows"]}
    for op, dtype, chunks, call, operands in points():
        name = str(dtype).removeprefix("torch.")
        if (op, name) in done:
            continue
        differ = outputs = 0
        for chunk in range(min(chunks, options.chunks)):
            more, looked_at = differing(call, operands(chunk))
            differ, outputs = differ + more, outputs + looked_at
        result["rows"].append({"op": op, "dtype": name, "outputs": outputs, "differ": differ})
        print(f"{op:14} {name:9} {outputs:14,} outputs, {differ} differ", flush=True)
        if options.output:
            options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
