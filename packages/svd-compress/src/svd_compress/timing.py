"""How long calls take on this device, cold and beside each other."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from svd_compress.matrices import Float64

Call = Callable[[], object]
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A median and the distribution-free interval of confidence 0.95 between two order statistics."""

    median: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Plain data, for JSON."""
        return {"median": self.median, "low": self.low, "high": self.high}


def median_interval(values: Float64) -> Interval:
    r"""Median of independent values, and the order statistics that hold it with probability 0.95.

    With n values the k-th smallest and the k-th largest do, for the largest k with
    $P[\mathrm{Bin}(n, 1/2) < k] \le 0.025$; the two ends where n is below 6.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    k, below = 0, 1
    while k < n // 2 and below <= (1 - CONFIDENCE) / 2 * 2**n:
        k += 1
        below += math.comb(n, k)
    k = max(0, k - 1) if n >= 6 else 0
    return Interval(float(np.median(ordered)), float(ordered[k]), float(ordered[n - 1 - k]))


def rounds_on_cpu(calls: Sequence[Sequence[Call]], *, rounds: int) -> Float64:
    """Seconds per call, (rounds, alternatives), by `time.perf_counter`.

    Each alternative is a list of calls that do the same on other memory: a round goes through all of them, so
    that none finds its weights in a cache. The alternatives take turns, so that a slow moment of the machine
    meets them all.
    """
    out = np.empty((rounds, len(calls)))
    for group in calls:
        for call in group:
            call()
    for i in range(rounds):
        for j, group in enumerate(calls):
            start = time.perf_counter()
            for call in group:
                call()
            out[i, j] = (time.perf_counter() - start) / len(group)
    return out


def rounds_on_cuda(calls: Sequence[Sequence[Call]], *, rounds: int) -> Float64:
    """Seconds per call, (rounds, alternatives), by CUDA events around a captured graph of each group.

    A graph leaves out the time that Python needs to launch. The L2 cache holds nothing of use: each call of a
    group reads weights of its own, and the group as a whole is several times the cache.
    """
    import torch

    graphs = []
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    for group in calls:
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                for call in group:
                    call()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for call in group:
                call()
        graphs.append(graph)
    out = np.empty((rounds, len(calls)))
    first, second = (
        torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        for _ in range(2)
    )
    for graph in graphs:
        graph.replay()
    for i in range(rounds):
        for j, graph in enumerate(graphs):
            first.record()
            graph.replay()
            second.record()
            second.synchronize()
            out[i, j] = first.elapsed_time(second) * 1e-3 / len(calls[j])
    return out


def copies(bytes_each: int, *, cache_bytes: int, times: float = 3.0, most: int = 24) -> int:
    """How many sets of weights make a group several times as large as the cache; 3 at least."""
    return max(3, min(most, math.ceil(times * cache_bytes / max(bytes_each, 1))))
