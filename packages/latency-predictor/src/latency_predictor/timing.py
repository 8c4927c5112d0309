"""Seconds of single operators: roofline terms with fitted efficiencies, and what a launch costs.

t = launch + (compute^p + memory^p)^(1/p): the smooth maximum of the two floors, each divided by the share of
its peak that kernels were measured to reach. Every function takes arrays and returns one; what measurements
show beyond the formula is a residual (`latency_predictor.residual`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Output tiles that GEMM libraries use, and how many of the fitted ratios apply to each: a small tile reuses
# less.
TILES = (
    (256, 128, 0),
    (192, 128, 0),
    (160, 128, 0),
    (128, 256, 0),
    (128, 128, 0),
    (96, 128, 1),
    (64, 128, 1),
    (128, 64, 1),
    (64, 64, 2),
)
# Blocks of threads that may share the inner dimension of one tile, and the least of it that each takes: few
# tiles of a long product would else leave most multiprocessors idle.
SPLITS = (1, 2, 4)
LEAST_INNER = 512
PAIRS_A_UNIT = 2  # blocks of decode attention that run on a multiprocessor at a time
SPLIT_BELOW = 0.8  # of those places taken; with fewer pairs a cache is split among several blocks
KEYS_A_BLOCK = 256  # of a decode step's cache, that one block of threads reads
QUERIES_A_BLOCK = 128


@dataclass(frozen=True)
class Hardware:
    """What the formulas read of a device: FLOP/s, bytes/s, multiprocessors (0: unknown), bytes of the L2."""

    peak_flop_per_s: float
    bandwidth_bytes_per_s: float
    units: int
    l2_bytes: int


@dataclass(frozen=True)
class Gemm:
    """Coefficients of a matrix product: shares of the peaks, ratio of the next smaller tile, sharpness of the
    bend, seconds of a launch, and how much longer a short inner dimension takes (in steps of 64).
    """

    compute: float
    smaller_tile: float
    bandwidth: float
    sharpness: float
    launch_s: float
    ramp: float


@dataclass(frozen=True)
class Prefill:
    """Coefficients of attention over new tokens; `ramp`: queries at which half of the peak share is
    reached.
    """

    compute: float
    bandwidth: float
    sharpness: float
    launch_s: float
    ramp: float


@dataclass(frozen=True)
class Decode:
    """Coefficients of attention of one token a sequence over a cache.

    `idle_exponent`: how time grows when there are fewer blocks than multiprocessors; `tail`: share of a
    whole wave that a last one of at most one block a multiprocessor takes, once there are enough (sequence,
    kv head) pairs that none is split; `head_s`: seconds that each pair costs on the whole device, however
    short its cache.
    """

    bandwidth: float
    sharpness: float
    launch_s: float
    idle_exponent: float
    tail: float
    head_s: float


@dataclass(frozen=True)
class Vector:
    """Coefficients of an element-wise operator: share of the memory's rate, how many times that the L2 gives,
    and seconds of a launch.
    """

    bandwidth: float
    l2_ratio: float
    launch_s: float


@dataclass(frozen=True)
class Exchange:
    """An all-reduce by the alpha-beta model: seconds whatever the size, and bytes/s of one device."""

    latency_s: float
    bandwidth_bytes_per_s: float


def smooth_max(a: Floats, b: Floats, sharpness: float) -> Floats:
    """(a^p + b^p)^(1/p), between max(a, b) and their sum; scaled so that no power overflows."""
    high, low = np.maximum(a, b, dtype=float), np.minimum(a, b, dtype=float)
    ratio = np.divide(low, high, out=np.zeros_like(high), where=high > 0)
    return np.asarray(high * (1 + ratio**sharpness) ** (1 / sharpness))


def waves(m: Floats, n: Any, tile_m: int, tile_n: int, units: int, split: int = 1) -> Floats:
    """Work of whole waves of tiles, as a multiple of m * n: 1 where the tiles fill every wave.

    With `split` blocks a tile, each takes that part of the inner dimension.
    """
    tiles = np.ceil(m / tile_m) * np.ceil(n / tile_n)
    if units:
        tiles = np.ceil(tiles * split / units) * units / split
    return np.asarray(tiles * tile_m * tile_n / (m * n))


def gemm_s(m: Floats, n: Any, k: Any, moved_bytes: Floats, fit: Gemm, on: Hardware) -> Floats:
    """Seconds of a product (m, k) @ (k, n): the best tile of `TILES` and split of `SPLITS`, in whole waves
    over the multiprocessors; partial sums of a split take another launch to add.
    """
    m = np.asarray(m, dtype=float)
    ideal = 2 * m * n * k / (on.peak_flop_per_s * fit.compute)
    best = np.full(np.shape(ideal), np.inf)
    for split in SPLITS:
        ramp = 1 + fit.ramp * 64 * split / k
        if split > 1:
            ramp = np.where(np.asarray(k) >= split * LEAST_INNER, ramp, np.inf)
        for tile_m, tile_n, steps in TILES:
            share = waves(m, n, tile_m, tile_n, on.units, split) / fit.smaller_tile**steps
            best = np.minimum(best, ideal * share * ramp + fit.launch_s * (split > 1))
    memory = moved_bytes / (on.bandwidth_bytes_per_s * fit.bandwidth)
    return fit.launch_s + smooth_max(best, memory, fit.sharpness)


def prefill_s(
    batch: Floats, queries: Floats, heads: Any, flop: Floats, moved_bytes: Floats, fit: Prefill, on: Hardware
) -> Floats:
    """Seconds of fused attention over new tokens, in whole waves of blocks of queries."""
    blocks = batch * heads * np.ceil(queries / QUERIES_A_BLOCK)
    idle = np.ceil(blocks / on.units) * on.units / blocks if on.units else 1.0
    # A causal triangle evens out over many waves: the last ones are partly short.
    idle = np.minimum(idle, 1 + on.units / blocks)
    share = fit.compute * queries / (queries + fit.ramp)
    compute = flop / (on.peak_flop_per_s * share) * idle
    memory = moved_bytes / (on.bandwidth_bytes_per_s * fit.bandwidth)
    return fit.launch_s + smooth_max(compute, memory, fit.sharpness)


def decode_s(
    batch: Floats, keys: Floats, kv_heads: Any, moved_bytes: Floats, fit: Decode, on: Hardware
) -> Floats:
    """Seconds of attention of one new token a sequence: the cache is read once a kv head."""
    blocks = batch * kv_heads * np.ceil(keys / KEYS_A_BLOCK)
    idle = np.maximum(1.0, on.units / blocks) ** fit.idle_exponent
    if on.units:
        places = batch * kv_heads / (PAIRS_A_UNIT * on.units)
        rest = places - np.floor(places)
        # One block on a multiprocessor need not share its rate; two take as long as any whole wave.
        last = np.where(rest > 1 / PAIRS_A_UNIT, 1.0, np.where(rest > 0, fit.tail, 0.0))
        whole = np.maximum(1.0, (np.floor(places) + last) / places)
        idle = idle * np.where(places >= SPLIT_BELOW, whole, 1.0)
    memory = moved_bytes / (on.bandwidth_bytes_per_s * fit.bandwidth) * idle
    return fit.launch_s + smooth_max(memory, batch * kv_heads * fit.head_s, fit.sharpness)


def vector_s(moved_bytes: Floats, fit: Vector, on: Hardware) -> Floats:
    """Seconds of an operator that only streams: what fits half of the L2 was just written and is still
    there.
    """
    rate = on.bandwidth_bytes_per_s * fit.bandwidth
    near = np.minimum(moved_bytes, on.l2_bytes / 2)
    return np.asarray(fit.launch_s + near / (rate * fit.l2_ratio) + (moved_bytes - near) / rate)


def exchange_s(moved_bytes: Floats, parts: int, fit: Exchange) -> Floats:
    """Seconds of a ring all-reduce: each device sends and receives 2 (parts - 1) / parts of the bytes."""
    return np.asarray(fit.latency_s + 2 * (parts - 1) / parts * moved_bytes / fit.bandwidth_bytes_per_s)
