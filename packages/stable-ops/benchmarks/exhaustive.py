"""Every input where there are few, a thousand million outputs where there are not, judged one by one.

The results of the kernels are compared, on the device, with `float64_oracle`, which is written apart from
them. What lies within 2^-40 of a tie is settled by ball arithmetic (python-flint): "0 misrounded" is exact.

    python packages/stable-ops/benchmarks/exhaustive.py --list
    python packages/stable-ops/benchmarks/exhaustive.py --folder parts pairs-bfloat16 rows-softmax-float16
    python packages/stable-ops/benchmarks/exhaustive.py --folder parts --merge results/exhaustive_h100.json
    python packages/stable-ops/benchmarks/exhaustive.py --show results/exhaustive_h100.json

A part is written after each chunk and goes on where it stopped. `--chunks` runs the first few only.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import float64_oracle as oracle
import numpy as np
import torch
from judgement import (
    CODES,
    DEVICE,
    ROW_OPS,
    Tally,
    every_number,
    generator,
    judge,
    note,
    off_ties,
    settle_near,
)
from pairs import check_pairs

import stable_ops
from stable_ops.ops.triton.tiers import LIMIT_ULP, tier
from stable_ops.testing.exact import settle

# Small enough that several parts share one GPU.
ROW_ELEMENTS = 2**24
OUTPUTS = 2**30
# Rows to draw: what they are like, and how long. Each chunk of a part takes the next.
ROWS = (
    ("normal", 1024), ("normal", 4096), ("shifted", 4096), ("dominant", 32768),
    ("cancelling", 4097), ("range", 1000), ("near overflow", 128), ("tiny", 16384),
    ("normal", 65537), ("normal", 262144), ("normal", 7), ("wide", 4096),
    ("shifted", 1024), ("cancelling", 128), ("dominant", 1000), ("wide", 16384),
)  # fmt: skip
SHORT_ROWS = (("normal", 7), ("dominant", 7), ("shifted", 7), ("wide", 7), ("cancelling", 16), ("normal", 16))
FORMS: dict[str, Callable[..., Any]] = {
    "rms_norm_hf": functools.partial(stable_ops.rms_norm, form="hf"),
    "rms_norm_gemma": functools.partial(stable_ops.rms_norm, form="gemma"),
    "gelu_tanh": functools.partial(stable_ops.gelu, approximate="tanh"),
}


def ours(op: str) -> Callable[..., Any]:
    return FORMS.get(op) or getattr(stable_ops, op)  # type: ignore[no-any-return]


def base(op: str) -> str:
    """The operator of a form: its tier is the same."""
    return {"rms_norm_hf": "rms_norm", "rms_norm_gemma": "rms_norm", "gelu_tanh": "gelu"}.get(op, op)


@dataclass(frozen=True)
class Part:
    """Chunks of work: `run(i, tally)` checks chunk i."""

    op: str
    dtype: str
    chunks: int
    run: Callable[[int, Tally], None]

    def start(self, name: str) -> Tally:
        label = tier(base(self.op), self.dtype)
        # Both roundings of the "hf" form count: against RN(w RN(x / rms)) it may differ by nothing.
        limit = 2.0 if self.dtype == "float32" else LIMIT_ULP[label]
        return Tally(name, self.op, self.dtype, label, limit)


# ---- rows


def draw_rows(kind: str, shape: tuple[int, int], dtype: Any, seed: tuple[int, ...]) -> Any:
    """Rows of a kind, drawn on the device."""
    random = generator(*seed)
    x = torch.randn(shape, generator=random, device=DEVICE)
    if kind == "shifted":
        x += 100
    elif kind == "wide":
        x *= 10
    elif kind == "dominant":
        x[:, 0] += 12
    elif kind == "cancelling":
        half = shape[1] // 2
        x[:, half : 2 * half] = -x[:, :half] * (1 + 2.0**-7)
    elif kind == "range":
        x = torch.ldexp(x, torch.randint(-20, 7, shape, generator=random, device=DEVICE))
    elif kind == "tiny":
        x *= 2e-7
    elif kind == "near overflow":
        x = (torch.rand(shape, generator=random, device=DEVICE) * 2 - 1) * 6e4
    return x.to(dtype)


def check_rows(op: str, dtype: Any, i: int, tally: Tally, *, elements: int) -> None:
    kinds = SHORT_ROWS if op == "logsumexp" else ROWS
    kind, length = kinds[i % len(kinds)]
    x = draw_rows(kind, (max(1, elements // length), length), dtype, (i, length))
    random = generator(i, length, 1)
    draw = functools.partial(torch.randn, length, generator=random, device=DEVICE)
    vectors = tuple((0.5 * draw() + offset).to(dtype) for offset in (1.0, 0.0)[: vectors_of(op)])
    y = ours(op)(x, *vectors)
    if op == "rms_norm_hf":
        judge_hf(tally, y, x, *vectors)
    else:
        judge(tally, y, oracle.ROWS[op](x, *vectors), (x, *vectors))


def vectors_of(op: str) -> int:
    return 2 if op == "layer_norm" else op.startswith("rms_norm")


def judge_hf(tally: Tally, y: Any, x: Any, weight: Any) -> None:
    """Two roundings: the first may be near a tie; the product of two 16-bit numbers is exact in float64."""
    ratio = oracle.rms_ratio(x)
    near = oracle.near_tie(ratio, y.dtype)
    product = oracle.nearest(ratio.value, y.dtype) * weight.double()
    exact = oracle.Truth(product, torch.zeros_like(product))
    wrong = oracle.differs(y, oracle.nearest(product, y.dtype)) & ~near
    note(tally, y, wrong, off_ties(oracle.ulp_error(y, exact, y.dtype), near), exact)
    places = near.nonzero()
    tally.near += len(places)
    if len(places):
        settle_near(tally, y, places, (x, weight))


# ---- functions of one number


@functools.cache
def table(op: str, dtype: Any) -> Any:
    """The correctly rounded result for every 16-bit number, each proven by a ball."""
    x = every_number(dtype).double().cpu()
    answers = oracle.nearest(oracle.UNARY[op](x).value, dtype)  # for what no ball takes: 0, inf and NaN
    plain = (x.isfinite() & (x != 0)).nonzero().flatten()
    name = str(dtype).removeprefix("torch.")
    answers[plain] = torch.from_numpy(settle(op, [x[plain].numpy()], np.arange(len(plain))[:, None], name))
    return answers.to(DEVICE)


def check_codes(op: str, dtype: Any, i: int, tally: Tally, *, elements: int) -> None:
    """Chunk 0: all 65,536 inputs, the error in ulp. Then random codes in long tensors, by look-up."""
    exact = table(op, dtype)
    if i == 0:
        x = every_number(dtype)
        truth = oracle.UNARY[op](x)
        y = ours(op)(x)
        note(tally, y, oracle.differs(y, exact), oracle.ulp_error(y, truth, dtype), truth)
        tally.settled = tally.by_balls = CODES
        return
    codes = torch.randint(0, CODES, (elements,), generator=generator(i), device=DEVICE)
    y = ours(op)(codes.to(torch.int16).view(dtype))
    tally.misrounded += int(oracle.differs(y, exact[codes]).sum())
    tally.checked += y.numel()


def check_float32(op: str, i: int, tally: Tally, *, elements: int) -> None:
    x = every_number(torch.float32, i * elements, elements)
    judge(tally, ours(op)(x), oracle.UNARY[op](x), (x,))


# ---- parts


def parts(scale: float = 1.0) -> dict[str, Part]:
    """Every part by name; `scale` < 1 makes the chunks smaller, for a trial without a GPU."""
    elements = int(ROW_ELEMENTS * scale)
    found = {}
    for dtype in (torch.bfloat16, torch.float16):
        name = str(dtype).removeprefix("torch.")
        pairs = max(CODES, elements // 2)
        run: Callable[[int, Tally], None] = functools.partial(check_pairs, dtype, elements=pairs)
        found[f"pairs-{name}"] = Part("swiglu", name, CODES * CODES // pairs, run)
        for op in oracle.UNARY:
            run = functools.partial(check_codes, op, dtype, elements=elements)
            found[f"codes-{op}-{name}"] = Part(op, name, 1 + OUTPUTS // ROW_ELEMENTS, run)
        for op in ROW_OPS:
            run = functools.partial(check_rows, op, dtype, elements=elements)
            chunks = OUTPUTS // ROW_ELEMENTS + 1
            found[f"rows-{op}-{name}"] = Part(op, name, 9 * chunks if op == "logsumexp" else chunks, run)
    for op in oracle.UNARY:
        run = functools.partial(check_float32, op, elements=elements)
        found[f"float32-{op}"] = Part(op, "float32", 2**32 // elements, run)
    return found


def run_part(name: str, part: Part, folder: Path, *, chunks: int | None, seconds: float) -> Tally:
    """Go on with a part, writing its tally after each chunk."""
    file = folder / f"{name}.json"
    tally = Tally(**json.loads(file.read_text())) if file.is_file() else part.start(name)
    until = time.monotonic() + seconds
    while tally.chunks < min(part.chunks, chunks or part.chunks) and time.monotonic() < until:
        began = time.monotonic()
        part.run(tally.chunks, tally)
        tally.where = where()
        tally.chunks += 1
        tally.seconds = round(tally.seconds + time.monotonic() - began, 3)
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(tally)))
        partial.rename(file)
    return tally


def where() -> dict[str, str]:
    """The device, the day and the versions."""
    found = {"device": "CPU", "date": datetime.datetime.now(datetime.UTC).date().isoformat()}
    found |= {"torch": torch.__version__, "python": sys.version.split()[0]}
    if DEVICE.type == "cuda":
        import triton

        found |= {"device": torch.cuda.get_device_name(), "triton": triton.__version__}
    return found


def merge(folder: Path) -> dict[str, Any]:
    """The parts of one device as one table."""
    tallies = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    whole = {name: part.chunks for name, part in parts().items()}
    places = [one.pop("where") for one in tallies]
    if len({place["device"] for place in places}) != 1:
        sys.exit(f"{folder} holds parts of {len({place['device'] for place in places})} devices: merge one's")
    for one in tallies:
        one["complete"] = one["chunks"] == whole.get(one["part"])
    return {**places[-1], "parts": tallies}


def lines(results: dict[str, Any]) -> Iterator[str]:
    yield f"{results['device']}, {results['date']}, torch {results['torch']}"
    head = ("part", "tier", "checked", "near", "by balls", "undecided", "misrounded", "max ulp")
    yield "| " + " | ".join(head) + " |"
    yield "| --- | --- |" + " ---: |" * (len(head) - 2)
    for t in results["parts"]:
        numbers = [t[k] for k in ("checked", "near", "by_balls", "undecided", "misrounded")]
        cells = [t["part"], t["tier"], *(f"{n:,}" for n in numbers), f"{t['max_ulp']:.6f}"]
        yield "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", help="names of --list; a name may end in *")
    parser.add_argument("--folder", type=Path, default=Path("parts"))
    parser.add_argument("--chunks", type=int, help="of each part, at most")
    parser.add_argument("--seconds", type=float, default=1e9, help="for each part, at most")
    parser.add_argument("--scale", type=float, default=1.0, help="smaller chunks, for a trial on a CPU")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--merge", type=Path, metavar="FILE", help="write one file of all parts")
    parser.add_argument("--show", type=Path, metavar="FILE")
    options = parser.parse_args()
    known = parts(options.scale)
    if options.list:
        print("\n".join(f"{name}: {part.chunks} chunks" for name, part in known.items()))
    if options.show:
        print("\n".join(lines(json.loads(options.show.read_text()))))
    failed = []
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.parts:
        if name not in known:
            parser.error(f"no part is named {name}: see --list")
        tally = run_part(name, known[name], options.folder, chunks=options.chunks, seconds=options.seconds)
        print(json.dumps(asdict(tally)), flush=True)
        failed += [] if tally.passed else [name]
    if options.merge:
        results = merge(options.folder)
        options.merge.write_text(json.dumps(results, indent=1) + "\n")
        print("\n".join(lines(results)))
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
