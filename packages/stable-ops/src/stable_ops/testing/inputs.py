"""Rows of numbers that are hard in a known way; drawn by name, in float64, to be stored in any format."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stable_ops.arrays import Float64

Draw = Callable[[np.random.Generator, tuple[int, int]], Float64]


def _masked(rng: np.random.Generator, shape: tuple[int, int]) -> Float64:
    x = rng.standard_normal(shape)
    x[rng.random(shape) < 0.5] = -np.inf
    x[:, rng.integers(shape[1])] = 0.5
    return x


def _dominant(rng: np.random.Generator, shape: tuple[int, int]) -> Float64:
    x = rng.standard_normal(shape)
    x[:, rng.integers(shape[1])] += 12.0
    return x


def _cancelling(rng: np.random.Generator, shape: tuple[int, int]) -> Float64:
    """Pairs of opposite sign, one of each a little larger: the sum is far smaller than its terms."""
    x = rng.standard_normal(shape)
    half = shape[1] // 2
    x[:, half : 2 * half] = -x[:, :half] * (1 + 2.0**-6 * rng.random((shape[0], half)))
    return x


KINDS: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "scale 10": lambda rng, shape: 10 * rng.standard_normal(shape),
    "shifted": lambda rng, shape: 1000 + rng.standard_normal(shape),
    "dominant": _dominant,
    "cancelling": _cancelling,
    "ascending": lambda rng, shape: np.sort(20 * rng.standard_normal(shape), axis=-1),
    "range": lambda rng, shape: np.ldexp(rng.standard_normal(shape), rng.integers(-20, 7, shape)),
    "equal": lambda rng, shape: np.broadcast_to(rng.standard_normal((shape[0], 1)), shape).copy(),
    "tiny": lambda rng, shape: 2e-7 * rng.standard_normal(shape),
    "near overflow": lambda rng, shape: 6e4 * rng.uniform(-1, 1, shape),
}
MASKED_KINDS: dict[str, Draw] = {
    "masked": _masked,
    "all masked": lambda rng, shape: np.full(shape, -np.inf),
    "nan": lambda rng, shape: np.where(np.arange(shape[1]) == 0, np.nan, rng.standard_normal(shape)),
}
# Beyond float16.
WIDE_KINDS: dict[str, Draw] = {
    "huge": lambda rng, shape: 3e38 * rng.uniform(-1, 1, shape),
    "subnormal": lambda rng, shape: 1e-39 * rng.standard_normal(shape),
}
# One column, fewer than a vector register, a warp and one, past a power of two, past 65,536 columns.
SHAPES = [(3, 1), (3, 7), (5, 128), (4, 129), (2, 4097), (1, 65_537)]


def draw(kind: str, seed: int, shape: tuple[int, int]) -> Float64:
    """Rows of that kind; the same seed gives the same rows."""
    return {**KINDS, **MASKED_KINDS, **WIDE_KINDS}[kind](np.random.default_rng(seed), shape)
