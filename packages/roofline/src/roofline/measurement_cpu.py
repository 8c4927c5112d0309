"""A CPU's ceilings: matrix products through each BLAS at hand, streams over a growing working set."""

from __future__ import annotations

import importlib
import importlib.util
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.measurement import Measurement, Rate, best, machine_name

Tick = Callable[[int, int], None]
Task = Callable[[], object]
_DTYPES = {"fp32": np.float32, "fp64": np.float64}
# Three such matrices leave every cache but the last, and one product still takes well under a second.
_SIZE = 1536
_STREAMS = {"copy": 2, "read": 1, "add": 3}


def measure_cpu(*, seconds: float, seed: int, tick: Tick) -> Measurement:
    """See `roofline.measure`."""
    generator = np.random.default_rng(seed)
    steps = len(_DTYPES) + 1
    libraries = {}
    for done, (dtype, kind) in enumerate(_DTYPES.items()):
        tick(done, steps)
        libraries[dtype] = matmul_rates(kind, generator, seconds=0.3 * seconds)
    tick(len(_DTYPES), steps)
    rows, streams = sweep(generator, seconds=0.4 * seconds)
    kernel, bandwidth = best(streams)
    tick(steps, steps)
    return Measurement(
        device=machine_name(),
        peaks={dtype: best(rates)[1] for dtype, rates in libraries.items()},
        libraries=libraries,
        bandwidth=bandwidth,
        bandwidth_kernel=kernel,
        sweep=tuple(rows),
        memory_bytes=_memory_bytes(),
        versions=_versions(libraries["fp32"]),
    )


def matmul_rates(kind: type, generator: np.random.Generator, *, seconds: float) -> dict[str, Rate]:
    """FLOP/s of an n x n product by each library, in rounds that alternate between them."""
    a: NDArray[Any] = generator.standard_normal((_SIZE, _SIZE)).astype(kind)
    b: NDArray[Any] = generator.standard_normal((_SIZE, _SIZE)).astype(kind)
    tasks = _products(a, b)
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():  # the first call allocates and starts the threads
        task()
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or len(next(iter(times.values()))) < 3:
        for name, task in tasks.items():
            times[name].append(_timed(task))
    return {name: Rate.of(2 * _SIZE**3, taken) for name, taken in times.items()}


def _products(a: NDArray[Any], b: NDArray[Any]) -> dict[str, Task]:
    out = np.empty_like(a)
    tasks: dict[str, Task] = {"numpy": lambda: np.matmul(a, b, out=out)}
    if importlib.util.find_spec("scipy") is not None:
        blas: Any = importlib.import_module("scipy.linalg.blas")
        gemm = blas.sgemm if a.dtype == np.float32 else blas.dgemm
        # Transposed views are Fortran-ordered: without them the wrapper copies both operands at every call.
        left, right, target = b.T, a.T, np.empty_like(a).T
        tasks["scipy"] = lambda: gemm(1.0, left, right, c=target, overwrite_c=1)
    if importlib.util.find_spec("torch") is not None:
        torch: Any = importlib.import_module("torch")
        ta, tb, tout = torch.from_numpy(a), torch.from_numpy(b), torch.empty_like(torch.from_numpy(a))
        tasks["torch"] = lambda: torch.mm(ta, tb, out=tout)
    return tasks


def _timed(task: Task) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def working_sets() -> list[int]:
    """Bytes of the sweep: powers of four from 1 MiB up to past the last cache, 256 MiB at least."""
    largest = max(256 << 20, 4 * _last_cache_bytes())
    sizes = [1 << 20]
    while sizes[-1] * 4 < largest:
        sizes.append(sizes[-1] * 4)
    return [*sizes, largest]


def sweep(
    generator: np.random.Generator, *, seconds: float
) -> tuple[list[dict[str, float]], dict[str, Rate]]:
    """Rates of copy, read and add over each working set, one thread a CPU; also those of the largest set."""
    sizes, threads = working_sets(), os.cpu_count() or 1
    rows: list[dict[str, float]] = []
    rates: dict[str, Rate] = {}
    with ThreadPoolExecutor(threads) as pool:
        for size in sizes:
            # Half of the time for the set that counts: the others only show where the caches end.
            share = seconds * (0.5 if size == sizes[-1] else 0.5 / (len(sizes) - 1))
            rates = _streams(generator, pool, threads, size, share)
            rows.append(
                {"working_set_bytes": float(size)} | {f"{k}_bytes_per_s": r.median for k, r in rates.items()}
            )
    return rows, rates


def _streams(
    generator: np.random.Generator, pool: ThreadPoolExecutor, threads: int, size: int, seconds: float
) -> dict[str, Rate]:
    elements = max(256, size // (2 * 4 * threads))  # two float32 arrays a thread
    data = [generator.standard_normal(elements, dtype=np.float32) for _ in range(threads)]
    target = [np.zeros_like(part) for part in data]
    kernels: dict[str, Callable[[int], object]] = {
        "copy": lambda i: np.copyto(target[i], data[i]),
        "read": lambda i: data[i].max(),
        "add": lambda i: np.add(target[i], data[i], out=target[i]),
    }
    # Small sets are passed over many times within one timing, or handing out the work would be what is timed.
    repeats = max(1, (8 << 20) // size)
    times: dict[str, list[float]] = {name: [] for name in kernels}
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or len(times["add"]) < 5:
        for name, kernel in kernels.items():
            times[name].append(_timed(lambda kernel=kernel: _on_all(pool, threads, kernel, repeats)))  # type: ignore[misc]
    moved = 4 * elements * threads * repeats
    return {name: Rate.of(_STREAMS[name] * moved, taken[1:]) for name, taken in times.items()}


def _on_all(pool: ThreadPoolExecutor, threads: int, kernel: Callable[[int], object], repeats: int) -> None:
    def passes(index: int) -> None:
        for _ in range(repeats):
            kernel(index)

    list(pool.map(passes, range(threads)))


def _last_cache_bytes() -> int:
    """Size of the largest cache that the system lists, 32 MiB where it lists none."""
    found = []
    for entry in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = entry.read_text().strip()
        scale = {"K": 1 << 10, "M": 1 << 20}.get(text[-1:], 1)
        found.append(int(text.rstrip("KM")) * scale)
    return min(max(found, default=32 << 20), 256 << 20)


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _versions(libraries: dict[str, Rate]) -> dict[str, str]:
    versions = {name: str(importlib.import_module(name).__version__) for name in libraries}
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    versions["numpy BLAS"] = f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()
    versions["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "unset")
    return versions
