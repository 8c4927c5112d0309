"""Rows on a CPU by loops that numba compiles: several times the speed, the same single rounding."""

from __future__ import annotations

from stable_ops.compiled.switch import accelerate

__all__ = ["accelerate"]
