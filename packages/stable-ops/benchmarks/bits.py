"""The bits of every operator on fixed inputs, as SHA-256, to be compared between libraries and devices.

The inputs are made of whole numbers from Philox and of powers of two, so that they are the same everywhere.

    python packages/stable-ops/benchmarks/bits.py numpy torch --output packages/stable-ops/benchmarks/results/bits.json
    python packages/stable-ops/benchmarks/bits.py cuda --output packages/stable-ops/benchmarks/results/bits_h100.json
    python packages/stable-ops/benchmarks/bits.py --compare packages/stable-ops/benchmarks/results/bits*.json

On a CUDA device the outputs that differ from numpy's are counted as well: for an operator of tier T1 there are
none, for one of T2 their number is recorded, and two devices that ran the same kernels agree with each other.
"""  # noqa: E501 (commands in one line)

from __future__ import annotations

import argparse
import concurrent.futures
import datetime
import functools
import hashlib
import inspect
import json
import multiprocessing
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stable_ops.fp.formats import get_format
from stable_ops.fp.rounding import round_float64
from stable_ops.ops.triton import tiers as triton_kernels
from stable_ops.ops.triton.tiers import tier
from stable_ops.testing.library import library
from stable_ops.testing.oracles import ORACLES, ours
from stable_ops.testing.strategies import numpy_dtype

LENGTHS = (1, 7, 128, 1000, 4096, 4097, 32_768, 65_537, 262_144)
ELEMENTS = 2**15
DTYPES = ("float16", "bfloat16", "float32")
ROW_OPS = ("softmax", "log_softmax", "logsumexp")


def bell(count: int, key: int) -> np.ndarray:
    """Sums of four uniform 16-bit numbers, about normal with deviation 1.15: exact in float64."""
    words = np.random.Philox(key=key).random_raw(count)
    quarters = [(words >> np.uint64(shift)) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48)]
    return (np.sum(quarters, axis=0).astype(np.int64) - 2 * 65535) / 2.0**15


def rows(length: int, dtype: str, key: int, *, masked: bool) -> np.ndarray:
    """Rows of different scale and mean; the last ones hold -inf, NaN or infinity."""
    count = max(4, ELEMENTS // length)
    x = bell(count * length, key).reshape(count, length)
    row = np.arange(count)[:, None]
    x = x * 2.0 ** (row % 7 - 3) + 100.0 * (row % 3 == 1)
    if masked:
        x[-1] = -np.inf
        x[-2, :: 2 if length > 1 else 1] = -np.inf
        x[-3, 0] = np.inf
        x[-4, 0] = np.nan
    return round_float64(x, get_format(dtype)).astype(numpy_dtype(dtype))


def arguments(op: str, dtype: str, length: int) -> list[np.ndarray]:
    made = []
    for place, name in enumerate(ORACLES[op].arguments):
        key = 1000 * length + place
        if name in ("x", "up"):
            made.append(rows(length, dtype, key, masked=op in ROW_OPS))
        else:
            vector = bell(length, key) / 2 + (name == "weight")
            made.append(round_float64(vector, get_format(dtype)).astype(numpy_dtype(dtype)))
    return made


def digest(y: np.ndarray) -> str:
    """Of the bytes, little-endian; every NaN is the same one."""
    plain = np.where(np.isnan(y.astype(np.float32)), np.array(np.nan, y.dtype), y)
    codes = plain.view(np.uint16 if y.dtype.itemsize == 2 else np.uint32)
    nan = 0x7E00 if y.dtype.itemsize == 2 else 0x7FC00000
    codes = np.where(np.isnan(y.astype(np.float32)), np.array(nan, codes.dtype), codes)
    return hashlib.sha256(np.ascontiguousarray(codes.astype(codes.dtype.newbyteorder("<")))).hexdigest()


@functools.cache
def on_the_host(op: str, dtype: str, length: int) -> np.ndarray:
    return np.asarray(ours(op)(*arguments(op, dtype, length)))


def cells(
    backend: str, lengths: tuple[int, ...] = LENGTHS, ops: Sequence[str] = tuple(ORACLES)
) -> Iterator[tuple[str, dict[str, Any]]]:
    """For each operator, dtype and length: its name and what was found."""
    given = (
        library("numpy") if backend == "numpy" else library("torch", "cpu" if backend == "torch" else backend)
    )
    for op in ops:
        for dtype in DTYPES:
            for length in lengths:
                x = arguments(op, dtype, length)
                y = given.take(ours(op)(*(given.give(a) for a in x)))
                host = on_the_host(op, dtype, length)
                differing = (y != host) & ~(np.isnan(y.astype(float)) & np.isnan(host.astype(float)))
                entry = {"sha256": digest(y), "outputs": y.size, "differing": int(differing.sum())}
                yield f"{op} {dtype} {length}", entry


def label(name: str) -> str:
    """The tier of a cell."""
    op, dtype, _ = name.split()
    return tier(ORACLES[op].operator or op, dtype)


def _of_one(backend: str, op: str) -> dict[str, Any]:
    return dict(cells(backend, ops=[op]))


def found_by(backend: str, workers: int) -> dict[str, Any]:
    """All cells, an operator to a process: the host's part takes most of the time."""
    if workers == 1:
        return dict(cells(backend))
    found: dict[str, Any] = {}
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        for some in pool.map(functools.partial(_of_one, backend), ORACLES):
            found |= some
    return found


def measure(backends: list[str], workers: int = 1) -> dict[str, Any]:
    import torch

    versions = {"numpy": np.__version__, "torch": torch.__version__, "python": platform.python_version()}
    device = torch.cuda.get_device_name() if any("cuda" in b for b in backends) else "CPU"
    when = datetime.datetime.now(datetime.UTC).date().isoformat()
    found = {backend: found_by(backend, workers) for backend in backends}
    kernels = {"kernels": sources()} if "cuda" in backends else {}
    return {"device": device, "date": when, "versions": versions, **kernels, "backends": found}


def sources() -> str:
    """A hash of the files that the kernels are made of."""
    ops = Path(inspect.getfile(triton_kernels)).parents[1]
    files = sorted(file for folder in ("triton", "cuda") for file in (ops / folder).glob("*.*"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def compare(files: list[dict[str, Any]]) -> list[str]:
    """Where two backends disagree that should not, one line each."""
    runs = {f"{f['device']} {b}": found for f in files for b, found in f["backends"].items()}
    reference = next(found for name, found in runs.items() if name.endswith(" numpy"))
    devices = {name: found for name, found in runs.items() if "cuda" in name}
    wrong = []
    for name, found in runs.items():
        for cell, entry in found.items():
            # float32 is computed in float64, whose last bit may decide a tie of one in 10^8 outputs.
            exact = name not in devices or (label(cell) == "T1" and "float32" not in cell)
            if exact and entry["sha256"] != reference[cell]["sha256"]:
                wrong.append(
                    f"{cell}: {name} differs from numpy in {entry['differing']} of {entry['outputs']}"
                )
    # The second tier may change with a kernel: only runs of the same ones are alike.
    kernels = {f"{f['device']} {b}": f.get("kernels", "") for f in files for b in f["backends"]}
    for cell in reference:
        for version in dict.fromkeys(kernels[name] for name in devices):
            same = [name for name in devices if kernels[name] == version]
            if len({devices[name][cell]["sha256"] for name in same}) > 1:
                wrong.append(f"{cell}: {' and '.join(same)} differ")
    return wrong


def summary(files: list[dict[str, Any]]) -> Iterator[str]:
    for file in files:
        for backend, found in file["backends"].items():
            equal = sum(entry["differing"] == 0 for entry in found.values())
            outputs, differing = (sum(e[key] for e in found.values()) for key in ("outputs", "differing"))
            yield (
                f"{file['device']} {backend}: {equal} of {len(found)} cells have numpy's values; "
                f"{differing} of {outputs:,} outputs differ"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("backends", nargs="*", help="numpy, torch, cuda")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--compare", type=Path, nargs="+")
    options = parser.parse_args()
    files = [json.loads(path.read_text()) for path in options.compare or []]
    if options.backends:
        files.append(measure(options.backends, options.workers))
        if options.output:
            options.output.write_text(json.dumps(files[-1], indent=1) + "\n")
    print("\n".join(summary(files)))
    if options.compare:
        wrong = compare(files)
        print("\n".join(wrong))
        sys.exit(f"{len(wrong)} cells differ" if wrong else 0)


if __name__ == "__main__":
    main()
