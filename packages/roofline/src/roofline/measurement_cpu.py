"""A CPU's ceilings: products, multiply-adds, and streams over a growing working set."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping

import numpy as np

from roofline.conditions import cpu_conditions
from roofline.cpu_caches import cache_bytes, plateaus, usable_cpus
from roofline.cpu_products import dtypes, product_rates, vector_rates
from roofline.cpu_streams import Streams, sweep, working_sets
from roofline.measurement import Measurement, Rate, best, machine_name
from roofline.native import Native, compiled

_FINE_S = 4.0  # with less time than this, working sets are two octaves apart
Tick = Callable[[int, int], None]


def measure_cpu(*, seconds: float, seed: int, tick: Tick) -> Measurement:
    """See `roofline.measure`."""
    generator = np.random.default_rng(seed)
    before, native = cpu_conditions(), compiled()
    names = dtypes()
    libraries = {}
    for done, dtype in enumerate(names):
        tick(done, len(names) + 2)
        libraries[dtype] = product_rates(dtype, generator, seconds=0.45 * seconds / len(names))
    threads, caches = usable_cpus(), cache_bytes()
    tick(len(names), len(names) + 2)
    vectors = vector_rates(native, threads=threads, seconds=0.1 * seconds) if native else {}
    tick(len(names) + 1, len(names) + 2)
    last = max(caches.values())
    sizes = working_sets(threads, last, step=2 if seconds >= _FINE_S else 4)
    streams = Streams(native, threads=threads, largest=sizes[-1], seed=seed)
    try:
        rows, rates = sweep(streams, sizes, last_cache_bytes=last, seconds=0.45 * seconds)
    finally:
        streams.close()
    kernel, bandwidth = best(rates)
    tick(len(names) + 2, len(names) + 2)
    return Measurement(
        device=machine_name(),
        peaks={dtype: best(found)[1] for dtype, found in libraries.items()},
        libraries=libraries,
        bandwidth=bandwidth,
        bandwidth_kernel=kernel,
        sweep=tuple(rows),
        memory_bytes=_memory_bytes(),
        versions=_versions(libraries["fp32"], native),
        streams=rates,
        levels=plateaus(rows, caches),
        vector_peaks=vectors,
        cache_bytes=caches,
        conditions={"before": before, "after": cpu_conditions()},
    )


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _versions(libraries: Mapping[str, Rate], native: Native | None) -> dict[str, str]:
    versions = {name: str(importlib.import_module(name).__version__) for name in libraries}
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    versions["numpy BLAS"] = f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()
    versions["streams"] = native.compiler if native else "numpy, since there is no C compiler"
    versions["threads of the streams"] = str(usable_cpus())
    versions["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "unset")
    return versions
