"""Rotary position embedding: which frequencies, and turning pairs of a head by them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from mfi_command import BadInput


def inverse_frequencies(rope: Mapping[str, Any], head_dim: int) -> torch.Tensor:
    r"""Angles per position (head_dim / 2,) float32: $\theta^{-2i/d}$, scaled as `rope["rope_type"]` says.

    Computed in float32 on purpose, as in training: at position p an ulp here is p ulps of angle.
    """
    exponent = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
    plain = 1.0 / (_number(rope, "rope_theta") ** exponent)
    kind = rope["rope_type"]
    if kind == "linear":
        return plain / _number(rope, "factor")
    if kind == "llama3":
        return _llama3(plain, rope)
    if kind == "factors":
        return plain / torch.tensor(rope["factors"], dtype=torch.float32)
    return plain


def _llama3(plain: torch.Tensor, rope: Mapping[str, Any]) -> torch.Tensor:
    """Long wavelengths divided by `factor`, short ones kept, a linear blend between (Llama 3.1)."""
    factor, low, high = (_number(rope, key) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    turns = _number(rope, "original_max_position_embeddings") * plain / (2 * math.pi)
    keep = ((turns - low) / (high - low)).clamp(0, 1)
    return (1 - keep) * plain / factor + keep * plain


def _number(rope: Mapping[str, Any], key: str) -> float:
    value = rope.get(key)
    if not isinstance(value, int | float) or not value > 0:
        raise BadInput(f"config: rotary parameter {key} must be a positive number, not {value!r}")
    return float(value)


def cos_sin(
    frequencies: torch.Tensor, length: int, dtype: torch.dtype, start: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine (length, head_dim) of `length` positions from `start` on, both halves alike."""
    positions = torch.arange(start, start + length, dtype=torch.float32, device=frequencies.device)
    angles = torch.outer(positions, frequencies).repeat(1, 2)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn each pair (x_i, x_{i + d/2}) of heads x (batch, heads, length, d) by its angle."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin
