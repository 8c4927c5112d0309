"""Seconds that one operator takes on a device: roofline terms with fitted efficiencies, and what a launch
costs.

t = launch + ((compute)^p + (memory)^p)^(1/p): the smooth maximum of the two floors, each divided by the
share of its peak that kernels were measured to reach. Plain arithmetic: the script that fits the
coefficients calls the same functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Output tiles that GEMM libraries use, and how many of the fitted ratios apply to each: a small tile reuses
# less.
TILES = ((256, 128, 0), (128, 256, 0), (128, 128, 0), (64, 128, 1), (128, 64, 1), (64, 64, 2))


@dataclass(frozen=True)
class Hardware:
    """What the formulas read of a device: FLOP/s, bytes/s, and multiprocessors (0 where unknown)."""

    peak_flop_per_s: float
    bandwidth_bytes_per_s: float
    units: int


@dataclass(frozen=True)
class Gemm:
    """Coefficients of a matrix product: shares of the peaks, ratio of the next smaller tile, sharpness of the
    bend, seconds of a launch."""

    compute: float
    smaller_tile: float
    bandwidth: float
    sharpness: float
    launch_s: float


@dataclass(frozen=True)
class Prefill:
    """Coefficients of attention over new tokens."""

    compute: float
    bandwidth: float
    sharpness: float
    launch_s: float


@dataclass(frozen=True)
class Decode:
    """Coefficients of attention of one token a sequence over a cache.

    `idle_exponent`: how time grows when there are fewer blocks than multiprocessors; `head_s`: seconds that
    each (sequence, kv head) pair costs on the whole device, however short its cache.
    """

    bandwidth: float
    sharpness: float
    launch_s: float
    idle_exponent: float
    head_s: float


@dataclass(frozen=True)
class Vector:
    """Coefficients of an element-wise operator."""

    bandwidth: float
    launch_s: float


def smooth_max(a: float, b: float, sharpness: float) -> float:
    """(a^p + b^p)^(1/p), between max(a, b) and their sum; scaled so that no power overflows."""
    high, low = (a, b) if a >= b else (b, a)
    if high <= 0:
        return 0.0
    return float(high * (1 + (low / high) ** sharpness) ** (1 / sharpness))


def _waves(m: int, n: int, tile_m: int, tile_n: int, units: int) -> float:
    """FLOP-weighted work of whole waves of tiles, as a multiple of m * n."""
    tiles = -(-m // tile_m) * -(-n // tile_n)
    if units:
        tiles = -(-tiles // units) * units
    return tiles * tile_m * tile_n / (m * n)


def gemm_s(m: int, n: int, k: int, moved_bytes: int, fit: Gemm, on: Hardware) -> float:
    """Seconds of a product (m, k) @ (k, n): the best tile of `TILES`, in whole waves over the
    multiprocessors.
    """
    ideal = 2 * m * n * k / (on.peak_flop_per_s * fit.compute)
    compute = min(
        ideal * _waves(m, n, tile_m, tile_n, on.units) / fit.smaller_tile**steps
        for tile_m, tile_n, steps in TILES
    )
    memory = moved_bytes / (on.bandwidth_bytes_per_s * fit.bandwidth)
    return fit.launch_s + smooth_max(compute, memory, fit.sharpness)


def prefill_s(flop: int, moved_bytes: int, fit: Prefill, on: Hardware) -> float:
    """Seconds of fused attention over new tokens."""
    compute = flop / (on.peak_flop_per_s * fit.compute)
    memory = moved_bytes / (on.bandwidth_bytes_per_s * fit.bandwidth)
    return fit.launch_s + smooth_max(compute, memory, fit.sharpness)


def decode_s(batch: int, keys: int, kv_heads: int, moved_bytes: int, fit: Decode, on: Hardware) -> float:
    """Seconds of attention of one new token a sequence: the cache is read once a kv head, 256 keys a
    block.
    """
    blocks = batch * kv_heads * -(-keys // 256)
    idle = max(1.0, on.units / blocks) ** fit.idle_exponent
    memory = moved_bytes / (on.bandwidth_bytes_per_s * fit.bandwidth) * idle
    return fit.launch_s + smooth_max(memory, batch * kv_heads * fit.head_s, fit.sharpness)


def vector_s(moved_bytes: int, fit: Vector, on: Hardware) -> float:
    """Seconds of an operator that only streams."""
    return fit.launch_s + moved_bytes / (on.bandwidth_bytes_per_s * fit.bandwidth)


# Which fitted vector operator an operator of `roofline` is timed as.
VECTOR_KINDS: Mapping[str, str] = {
    "norm": "norm",
    "final_norm": "norm",
    "q_norm": "norm",
    "k_norm": "norm",
    "rotary": "rotary",
    "kv_write": "add",
    "activation": "activation",
    "residual_add": "add",
    "position_add": "add",
    "embedding": "embedding",
    "position_embedding": "embedding",
}
