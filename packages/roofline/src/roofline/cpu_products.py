"""Arithmetic of a CPU: products through each library at hand (matrix units where there are any), and chained
multiply-adds on the vector units.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.measurement import Rate
from roofline.native import CHAINS, Native

Task = Callable[[], object]
# Three such matrices leave every cache but the last, and one product still takes well under a second.
_SIZE = 1536
_FLOATS: dict[str, Any] = {"fp32": np.float32, "fp64": np.float64}
# What a CPU must have for a 16-bit or 8-bit product to be more than an emulation, as Linux names it.
_UNITS = {
    "bf16": ("amx_bf16", "avx512_bf16", "bf16", "i8mm bf16"),
    "int8": ("amx_int8", "avx512_vnni", "avx_vnni", "i8mm"),
}


def dtypes() -> list[str]:
    """Dtypes whose product this CPU has units for, and a library here reaches."""
    names = list(_FLOATS)
    flags = cpu_flags()
    if importlib.util.find_spec("torch") is not None:
        names += [dtype for dtype, units in _UNITS.items() if flags & set(units)]
    return names


def cpu_flags() -> set[str]:
    """Instruction sets as Linux lists them; empty where it does not."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            found = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        return set()
    return set(found.partition(":")[2].split())


def product_rates(dtype: str, generator: np.random.Generator, *, seconds: float) -> dict[str, Rate]:
    """FLOP/s of an n x n product by each library, in rounds that alternate between them."""
    tasks = _floats(dtype, generator) if dtype in _FLOATS else _narrow(dtype, generator)
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():  # the first call allocates and starts the threads
        task()
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or len(next(iter(times.values()))) < 3:
        for name, task in tasks.items():
            times[name].append(_timed(task))
    return {name: Rate.of(2 * _SIZE**3, taken) for name, taken in times.items()}


def vector_rates(native: Native, *, threads: int, seconds: float) -> dict[str, Rate]:
    """FLOP/s of multiply-adds in registers, one thread a CPU."""
    rates = {}
    with ThreadPoolExecutor(threads) as pool:
        for dtype, size in (("fp32", 4), ("fp64", 8)):
            steps = 1_000_000
            task = _chains(native.chain(dtype), pool, threads, steps)
            task()
            taken: list[float] = []
            stop = time.perf_counter() + seconds / 2
            while time.perf_counter() < stop or len(taken) < 5:
                taken.append(_timed(task))
            flop = 2 * CHAINS * (native.width_bytes // size) * steps * threads
            rates[dtype] = Rate.of(flop, taken)
    return rates


def _chains(function: Any, pool: ThreadPoolExecutor, threads: int, steps: int) -> Task:
    # Converges to y / (1 - x): neither overflows nor becomes subnormal, which would be slower.
    return lambda: list(pool.map(lambda thread: function(0.75, 0.1 + thread, steps), range(threads)))


def _floats(dtype: str, generator: np.random.Generator) -> dict[str, Task]:
    kind = _FLOATS[dtype]
    a: NDArray[Any] = generator.standard_normal((_SIZE, _SIZE)).astype(kind)
    b: NDArray[Any] = generator.standard_normal((_SIZE, _SIZE)).astype(kind)
    out = np.empty_like(a)
    tasks: dict[str, Task] = {"numpy": lambda: np.matmul(a, b, out=out)}
    if importlib.util.find_spec("scipy") is not None:
        blas: Any = importlib.import_module("scipy.linalg.blas")
        gemm = blas.sgemm if dtype == "fp32" else blas.dgemm
        # Transposed views are Fortran-ordered: without them the wrapper copies both operands at every call.
        left, right, target = b.T, a.T, np.empty_like(a).T
        tasks["scipy"] = lambda: gemm(1.0, left, right, c=target, overwrite_c=1)
    if importlib.util.find_spec("torch") is not None:
        torch: Any = importlib.import_module("torch")
        ta, tb, tout = torch.from_numpy(a), torch.from_numpy(b), torch.empty_like(torch.from_numpy(a))
        tasks["torch"] = lambda: torch.mm(ta, tb, out=tout)
    return tasks


def _narrow(dtype: str, generator: np.random.Generator) -> dict[str, Task]:
    torch: Any = importlib.import_module("torch")
    if dtype == "int8":
        a, b = (
            torch.from_numpy(generator.integers(-128, 128, (_SIZE, _SIZE), dtype=np.int8)) for _ in range(2)
        )
        return {"torch": lambda: torch._int_mm(a, b)}
    a, b = (
        torch.from_numpy(generator.standard_normal((_SIZE, _SIZE), dtype=np.float32)).bfloat16()
        for _ in range(2)
    )
    return {"torch": lambda: torch.mm(a, b)}


def _timed(task: Task) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start
