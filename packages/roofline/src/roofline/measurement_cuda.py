"""A CUDA device's ceilings: products per dtype, streams per level, transfers and launches, timed by
events.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

from mfi_command import BadInput, require
from roofline.conditions import gpu_conditions
from roofline.cuda_products import best_product, dtypes, product_rates, sustained_product
from roofline.cuda_streams import sweep
from roofline.measurement import Measurement, Rate, best

_TRANSFER_BYTES = 1 << 28


def measure_cuda(*, seconds: float, seed: int, tick: Callable[[int, int], None]) -> Measurement:
    """See `roofline.measure`."""
    torch = require("torch", extra="torch", distribution="roofline")
    if not torch.cuda.is_available():
        raise BadInput("device is 'cuda', but torch finds no CUDA device; give cpu")
    if importlib.util.find_spec("triton") is None:
        raise BadInput("device 'cuda' needs triton, which comes with the builds of torch for CUDA on Linux")
    torch.manual_seed(seed)
    before = gpu_conditions()
    names = dtypes(torch)
    named = {}
    for done, dtype in enumerate(names):
        tick(done, len(names) + 2)
        found = product_rates(torch, timed, dtype, seconds=0.5 * seconds / len(names))
        if found:
            named[dtype] = found
        torch.cuda.empty_cache()
    after_products = gpu_conditions()
    tick(len(names), len(names) + 2)
    rows, streams, l1 = sweep(torch, timed, seconds=0.4 * seconds)
    torch.cuda.empty_cache()
    tick(len(names) + 1, len(names) + 2)
    kernel, bandwidth = best({k: v for k, v in streams.items() if k in ("copy", "torch_copy", "read")})
    properties = torch.cuda.get_device_properties(0)
    tick(len(names) + 2, len(names) + 2)
    return Measurement(
        device=properties.name,
        peaks={dtype: best_product(rates) for dtype, rates in named.items()},
        libraries={
            dtype: {f"torch {shape}": rate for shape, rate in found.items()} for dtype, found in named.items()
        },
        bandwidth=bandwidth,
        bandwidth_kernel=kernel,
        sweep=tuple(rows),
        memory_bytes=int(properties.total_memory),
        versions={"torch": str(torch.__version__), "CUDA": str(torch.version.cuda)},
        streams=streams,
        sustained={dtype: sustained_product(rates) for dtype, rates in named.items()},
        levels={"l1": l1.median, "l2": l2_plateau(rows, int(properties.L2_cache_size))},
        transfers=_transfers(torch, 0.1 * seconds),
        launch_s=launch_s(torch),
        cache_bytes={"l2": int(properties.L2_cache_size)},
        conditions={"before": before, "after_products": after_products, "after": gpu_conditions()},
    )


def l2_plateau(rows: list[dict[str, float]], l2_bytes: int) -> float:
    """Reads within the L2: the median over the sets that are at most half of it, since it is in two parts."""
    inside = [row["read_bytes_per_s"] for row in rows if row["working_set_bytes"] <= l2_bytes / 2]
    return statistics.median(inside)


def timed(
    torch: Any, task: Callable[[], object], seconds: float, *, at_once: int = 1, readings: int = 6
) -> list[float]:
    """Seconds of one run, by events around `at_once` runs; at least `readings`, after three runs
    unrecorded.
    """
    taken: list[float] = []
    for _ in range(3):
        task()
    stop = time.perf_counter() + seconds
    while len(taken) < readings or time.perf_counter() < stop:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(at_once):
            task()
        end.record()
        end.synchronize()
        taken.append(start.elapsed_time(end) / 1e3 / at_once)
    return taken


def _transfers(torch: Any, seconds: float) -> dict[str, Rate]:
    """Copies between pinned memory of the host and the device, each way."""
    here = torch.randn(_TRANSFER_BYTES // 4).pin_memory()
    there = torch.empty(_TRANSFER_BYTES // 4, device="cuda")
    tasks = {
        "host_to_device": lambda: there.copy_(here, non_blocking=True),
        "device_to_host": lambda: here.copy_(there, non_blocking=True),
    }
    return {
        name: Rate.of(_TRANSFER_BYTES, timed(torch, task, seconds / 2, at_once=2))
        for name, task in tasks.items()
    }


def launch_s(torch: Any) -> dict[str, float]:
    """Least seconds that a kernel takes: `graph` from one replayed kernel to the next, `eager` from one call
    to the next, which the host limits.
    """
    x = torch.zeros(1, device="cuda")
    count = 500
    graph = torch.cuda.CUDAGraph()
    x.add_(1)
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        for _ in range(count):
            x.add_(1)
    return {
        "graph": statistics.median(timed(torch, graph.replay, 0.1)) / count,
        "eager": statistics.median(timed(torch, lambda: x.add_(1), 0.1, at_once=count)),
    }
