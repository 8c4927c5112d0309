"""Bandwidth of a CPU by working set: kernels in C where a compiler is there, numpy's otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.measurement import Rate
from roofline.native import STREAMS, Native

# Times the array is moved: a copy reads one and writes one, an addition in place reads two and writes one.
_PARTS = {"read": 1, "write": 1, "write_nt": 1, "copy": 2, "copy_nt": 2, "add": 3}
_STEP = 128  # floats: what the unrolled loops in C take at once
_HUGE_PAGE = 2 << 20
Floats = NDArray[np.float32]
Kernel = Callable[[int, int, int], None]  # (thread, elements, passes)


def working_sets(threads: int, last_cache_bytes: int, *, step: int = 2) -> list[int]:
    """Bytes over all threads: by factors of `step` from 8 KiB a thread to four times the last cache, 256 MiB
    at least.
    """
    largest = max(256 << 20, 4 * last_cache_bytes)
    sizes = [threads * (8 << 10)]
    while sizes[-1] * step < largest:
        sizes.append(sizes[-1] * step)
    return [*sizes, largest]


class Streams:
    """Arrays of one thread each, random, and the kernels over them."""

    def __init__(self, native: Native | None, *, threads: int, largest: int, seed: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads)
        elements = largest // 4 // threads // _STEP * _STEP
        seeds = np.random.SeedSequence(seed).spawn(threads)
        # Each thread fills its own arrays: memory is placed where it is touched first.
        pairs = list(self._pool.map(lambda one: _pair(one, elements), seeds))
        self._x, self._y = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        self.kernels = _compiled(native, self._x, self._y) if native else _numpy(self._x, self._y)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def seconds(self, name: str, elements: int, passes: int) -> float:
        """Wall time of `passes` passes over `elements` a thread, on all threads."""
        kernel = self.kernels[name]
        start = time.perf_counter()
        list(self._pool.map(lambda thread: kernel(thread, elements, passes), range(self.threads)))
        return time.perf_counter() - start

    def rates(self, size: int, *, seconds: float, names: list[str] | None = None) -> dict[str, Rate]:
        """Rate of each kernel over a working set of `size` bytes, in rounds that alternate between them."""
        names = names or list(self.kernels)
        plan = {name: self._plan(name, size, seconds / len(names)) for name in names}
        times: dict[str, list[float]] = {name: [] for name in names}
        stop = time.perf_counter() + seconds
        while len(times[names[-1]]) < 5 or time.perf_counter() < stop:
            for name, (elements, passes) in plan.items():
                times[name].append(self.seconds(name, elements, passes))
        return {
            name: Rate.of(_PARTS[name] * 4 * elements * self.threads * passes, times[name])
            for name, (elements, passes) in plan.items()
        }

    def _plan(self, name: str, size: int, seconds: float) -> tuple[int, int]:
        """Elements a thread, and passes enough that a reading takes 2 to 20 ms: starting the threads does not
        show in it.
        """
        arrays = 1 if _PARTS[name] == 1 else 2
        elements = max(_STEP, size // 4 // arrays // self.threads // _STEP * _STEP)
        aim = min(max(seconds / 8, 2e-3), 2e-2)
        passes = 1
        # The least of three: one that was interrupted would pass for a slow kernel.
        while (taken := min(self.seconds(name, elements, passes) for _ in range(3))) < aim:
            passes = max(2 * passes, int(passes * min(100.0, 1.2 * aim / max(taken, 1e-7))))
        return elements, passes


def sweep(
    streams: Streams, sizes: list[int], *, last_cache_bytes: int, seconds: float
) -> tuple[list[dict[str, float]], dict[str, Rate]]:
    """Median rates of each kernel over each working set; also the rates of the largest.

    Streaming stores pass by the caches, so they are timed only over sets that no cache holds.
    """
    cached = [name for name in streams.kernels if not name.endswith("_nt")]
    rows: list[dict[str, float]] = []
    rates: dict[str, Rate] = {}
    for size in sizes:
        # A third of the time for the set that counts: the others only show where the levels end.
        share = seconds / 3 if size == sizes[-1] else seconds * 2 / 3 / (len(sizes) - 1)
        rates = streams.rates(size, seconds=share, names=None if size > last_cache_bytes else cached)
        rows.append({"working_set_bytes": float(size)} | _row(rates))
    return rows, rates


def _row(rates: Mapping[str, Rate]) -> dict[str, float]:
    return {f"{name}_bytes_per_s": rate.median for name, rate in rates.items()}


def _pair(seed: np.random.SeedSequence, elements: int) -> tuple[Floats, Floats]:
    generator = np.random.default_rng(seed)
    x, y = _aligned(elements), _aligned(elements)
    generator.random(out=x, dtype=np.float32)
    generator.random(out=y, dtype=np.float32)
    return x, y


def _aligned(elements: int) -> Floats:
    """On the boundary of a huge page: a small set that lay across one was read at two thirds of the rate, and
    streaming stores need whole lines.
    """
    raw = np.empty(elements + _HUGE_PAGE // 4, np.float32)
    start = -raw.ctypes.data % _HUGE_PAGE // 4
    return raw[start : start + elements]


def _compiled(native: Native, x: list[Floats], y: list[Floats]) -> dict[str, Kernel]:
    at_x, at_y = [part.ctypes.data for part in x], [part.ctypes.data for part in y]

    def kernel(name: str) -> Kernel:
        function: Any = native.stream(name)
        return lambda thread, elements, passes: function(at_y[thread], at_x[thread], elements, passes)

    return {name: kernel(name) for name in STREAMS}


def _numpy(x: list[Floats], y: list[Floats]) -> dict[str, Kernel]:
    def kernel(one: Callable[[Floats, Floats], object]) -> Kernel:
        def run(thread: int, elements: int, passes: int) -> None:
            source, target = x[thread][:elements], y[thread][:elements]
            for _ in range(passes):
                one(target, source)

        return run

    return {
        "read": kernel(lambda target, source: source.max()),
        "copy": kernel(lambda target, source: np.copyto(target, source)),
        "add": kernel(lambda target, source: np.add(target, source, out=target)),
    }
