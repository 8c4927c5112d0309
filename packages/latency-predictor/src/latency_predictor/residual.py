"""What measurements show beyond a formula: a smooth correction that vanishes away from them.

A regularised kernel regression of log(measured / formula) on a few dimensionless features, with a fixed set
of centres: r(x) = sum_j w_j exp(-|x - c_j|^2 / 2), w = argmin |K w - y|^2 + lambda w' G w (the subset of
regressors of a Gaussian process; Rasmussen and Williams 2006, section 8.3.1). Far from every centre it is
zero, so the prediction falls back to physics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latency_predictor.timing import Hardware

Floats = NDArray[np.float64]
NOISE = 0.15  # lambda: spread of the measurements relative to the prior's, squared
_LARGEST_LOG = 1.0  # a correction by more than e is no correction but another formula
_CHUNK = 8192


@dataclass(frozen=True)
class Residual:
    """Centres `(count, features)` and their weights `(count,)`."""

    centres: Floats
    weights: Floats

    def evaluate(self, features: Floats) -> tuple[Floats, Floats]:
        """At `features` `(rows, features)`: log(expected / formula), and the distance to the nearest centre
        in
        lengths of the kernel. Beyond 2 measurements say nothing.
        """
        log_ratio, nearest = np.empty(len(features)), np.empty(len(features))
        # Single precision is far finer than the fit, and half of the time.
        points, centres = features.astype(np.float32), self.centres.astype(np.float32)
        weights = self.weights.astype(np.float32)
        for start in range(0, len(features), _CHUNK):
            part = slice(start, start + _CHUNK)
            squared = _squared(points[part], centres)
            nearest[part] = squared.min(axis=1)
            log_ratio[part] = np.exp(-0.5 * squared, out=squared) @ weights
        return np.clip(log_ratio, -_LARGEST_LOG, _LARGEST_LOG), np.sqrt(nearest)

    def log_ratio(self, features: Floats) -> Floats:
        """log(expected / formula) alone."""
        return self.evaluate(features)[0]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, rounded to what matters."""
        return {"centres": np.round(self.centres, 3).tolist(), "weights": np.round(self.weights, 4).tolist()}


def residual_from(values: Mapping[str, Any]) -> Residual:
    """The inverse of `Residual.to_dict`."""
    return Residual(np.asarray(values["centres"], float), np.asarray(values["weights"], float))


def _squared(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    found = a @ (-2 * b.T)
    found += (a**2).sum(axis=1)[:, None]
    found += (b**2).sum(axis=1)
    clipped: NDArray[Any] = np.maximum(found, 0, out=found)
    return clipped


def kernel(a: Floats, b: Floats) -> Floats:
    """exp(-|a - b|^2 / 2) of all pairs."""
    return np.asarray(np.exp(-0.5 * _squared(a, b)))


def fit_residual(
    features: Floats, log_ratios: Floats, *, centres: int = 160, noise: float = NOISE, seed: int = 0
) -> Residual:
    """Centres by a few rounds of k-means on the features, weights by ridge regression. Cost O(rows
    centres^2).
    """
    chosen = _means(features, min(centres, len(features)), np.random.default_rng(seed))
    mixed, own = kernel(features, chosen), kernel(chosen, chosen)
    normal = mixed.T @ mixed + noise * own + 1e-8 * np.eye(len(chosen))
    return Residual(chosen, np.asarray(np.linalg.solve(normal, mixed.T @ log_ratios), float))


def _means(points: Floats, count: int, generator: np.random.Generator) -> Floats:
    centres = points[generator.choice(len(points), count, replace=False)]
    for _ in range(6):
        nearest = _squared(points, centres).argmin(axis=1)
        for number in range(count):
            members = points[nearest == number]
            if len(members):
                centres[number] = members.mean(axis=0)
    return np.asarray(centres)


def gemm_features(m: Floats, n: Any, k: Any, moved_bytes: Floats, on: Hardware) -> Floats:
    """Sizes, how full the last wave is, intensity over the ridge, bytes over the L2: one unit is about how
    far
    efficiency stays alike.
    """
    units = on.units or 100
    ridge = on.peak_flop_per_s / on.bandwidth_bytes_per_s
    columns = [0.5 * np.log2(m), 0.5 * np.log2(n), 0.5 * np.log2(k)]
    for tile, weight in ((128, 1.5), (256, 1.0)):
        full = np.ceil(m / 128) * np.ceil(n / tile) / units
        columns.append(weight * full / np.ceil(full))
    columns.append(0.35 * np.log2(2 * m * n * k / moved_bytes / ridge))
    columns.append(0.35 * np.log2(moved_bytes / max(on.l2_bytes, 1 << 20)))
    columns.append(0.3 * (m % 128 != 0))
    return np.stack(np.broadcast_arrays(*columns), axis=1).astype(float)


def attention_features(batch: Floats, keys: Floats, heads: Any, kv_heads: Any, head_dim: Any) -> Floats:
    """Sizes of attention, in powers of two and thereabouts."""
    columns = [
        0.5 * np.log2(batch),
        0.5 * np.log2(keys),
        0.5 * np.log2(heads),
        0.5 * np.log2(kv_heads),
        np.log2(head_dim),
    ]
    return np.stack(np.broadcast_arrays(*columns), axis=1).astype(float)
