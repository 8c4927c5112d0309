"""A CUDA device's ceilings: matrix products per dtype and streams through torch, timed by CUDA events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mfi_command import BadInput, require
from roofline.measurement import Measurement, Rate, best

_SIZES = (4096, 8192)  # large enough to fill the chip, small enough for its memory in fp32
_STREAM_BYTES = 1 << 30  # far beyond any L2
_LEAST_SET = 1 << 22


def measure_cuda(*, seconds: float, seed: int, tick: Callable[[int, int], None]) -> Measurement:
    """See `roofline.measure`."""
    torch = require("torch", extra="torch", distribution="roofline")
    if not torch.cuda.is_available():
        raise BadInput("device is 'cuda', but torch finds no CUDA device; give cpu")
    torch.manual_seed(seed)
    jobs = _dtypes(torch)
    libraries = {}
    for done, (dtype, kind) in enumerate(jobs.items()):
        tick(done, len(jobs) + 1)
        libraries[dtype] = {"torch": _product(torch, dtype, kind, 0.6 * seconds / len(jobs))}
    tick(len(jobs), len(jobs) + 1)
    rows, streams = _sweep(torch, 0.4 * seconds)
    kernel, bandwidth = best(streams)
    tick(len(jobs) + 1, len(jobs) + 1)
    properties = torch.cuda.get_device_properties(0)
    return Measurement(
        device=properties.name,
        peaks={dtype: rates["torch"] for dtype, rates in libraries.items()},
        libraries=libraries,
        bandwidth=bandwidth,
        bandwidth_kernel=kernel,
        sweep=tuple(rows),
        memory_bytes=int(properties.total_memory),
        versions={"torch": str(torch.__version__), "CUDA": str(torch.version.cuda)},
    )


def _dtypes(torch: Any) -> dict[str, Any]:
    kinds = {"fp16": torch.float16, "fp32": torch.float32, "fp64": torch.float64}
    if torch.cuda.get_device_capability() >= (8, 0):
        kinds |= {"bf16": torch.bfloat16, "tf32": torch.float32}
    return kinds


def _product(torch: Any, dtype: str, kind: Any, seconds: float) -> Rate:
    """The better of two sizes; fp32 runs with tf32 switched off, and the setting is put back."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
    try:
        rates = {}
        for size in _SIZES:
            a, b = (torch.randn(size, size, device="cuda", dtype=kind) for _ in range(2))
            out = torch.empty_like(a)
            task = _into(torch.mm, a, b, out)
            rates[str(size)] = Rate.of(2 * size**3, _timed(torch, task, seconds / len(_SIZES)))
        return best(rates)[1]
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _into(function: Any, a: Any, b: Any, out: Any) -> Callable[[], object]:
    return lambda: function(a, b, out=out)


def _timed(torch: Any, task: Callable[[], object], seconds: float) -> list[float]:
    """Seconds of each run, by events; at least ten runs, the first three unrecorded."""
    taken: list[float] = []
    for run in range(2000):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        task()
        end.record()
        end.synchronize()
        if run >= 3:
            taken.append(start.elapsed_time(end) / 1e3)
        if len(taken) >= 10 and sum(taken) > seconds:
            break
    return taken


def _sweep(torch: Any, seconds: float) -> tuple[list[dict[str, float]], dict[str, Rate]]:
    """Rates over working sets from 4 MiB, which the L2 holds, to 2 GiB."""
    sizes = [_LEAST_SET << step for step in range(0, 10, 2)] + [2 * _STREAM_BYTES]
    rows: list[dict[str, float]] = []
    rates: dict[str, Rate] = {}
    for size in sizes:
        data = torch.randn(size // 8, device="cuda")
        target = torch.zeros_like(data)
        tasks = {
            "copy": (2, _bound(target.copy_, data)),
            "read": (1, data.max),
            "add": (3, _bound(target.add_, data)),
        }
        rates = {
            name: Rate.of(parts * data.nbytes, _timed(torch, task, seconds / (3 * len(sizes))))
            for name, (parts, task) in tasks.items()
        }
        rows.append(
            {"working_set_bytes": float(size)} | {f"{k}_bytes_per_s": r.median for k, r in rates.items()}
        )
    return rows, rates


def _bound(function: Any, argument: Any) -> Callable[[], object]:
    return lambda: function(argument)
