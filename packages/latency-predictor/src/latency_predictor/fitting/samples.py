"""Measurements of operators as arrays, whoever made them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Compulsory bytes an element, in units of the size of an element, of the kernels that `collect` times.
PASSES_OVER = {
    "rms": 2, "layer": 2, "add": 3, "multiply": 3, "silu": 2, "relu": 2, "kv_write": 2, "rotary": 2,
    "embedding": 2, "rms_written": 2, "rotary_written": 2,
}  # fmt: skip


@dataclass(frozen=True)
class GemmSamples:
    """(m, k) @ (k, n) with weights that came from memory; bytes and seconds of each."""

    m: Floats
    n: Floats
    k: Floats
    moved_bytes: Floats
    seconds: Floats

    def take(self, chosen: Any) -> GemmSamples:
        """The rows of an index or a mask."""
        return GemmSamples(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class AttentionSamples:
    """Attention over new tokens ("prefill": queries = keys) or of one token over a cache ("decode")."""

    batch: Floats
    keys: Floats
    heads: Floats
    kv_heads: Floats
    head_dim: Floats
    seconds: Floats

    def take(self, chosen: Any) -> AttentionSamples:
        """The rows of an index or a mask."""
        return AttentionSamples(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def moved_bytes(self, *, phase: str) -> Floats:
        """Compulsory bytes, 16-bit."""
        queries = self.keys if phase == "prefill" else 1.0
        values = self.batch * self.head_dim * (queries * self.heads + self.keys * self.kv_heads)
        return np.asarray(4 * values)

    def flop(self) -> Floats:
        """Of the causal triangle."""
        return np.asarray(2 * self.batch * self.heads * self.head_dim * self.keys * (self.keys + 1))


@dataclass(frozen=True)
class VectorSamples:
    """An element-wise kernel; `cached` is 1 where its operands were just written."""

    moved_bytes: Floats
    cached: Floats
    seconds: Floats


@dataclass(frozen=True)
class Samples:
    """All of one device: products by dtype, attention by phase and implementation, vectors by kernel."""

    gemms: Mapping[str, GemmSamples] = field(default_factory=dict)
    attentions: Mapping[tuple[str, str], AttentionSamples] = field(default_factory=dict)
    vectors: Mapping[str, VectorSamples] = field(default_factory=dict)


def _columns(rows: Sequence[Mapping[str, Any]], *names: str) -> list[Floats]:
    return [np.array([float(row[name]) for row in rows]) for name in names]


def collected(content: Mapping[str, Any]) -> Samples:
    """The operators in a file of `collect`; their whole passes are for `stack_rows`."""
    rows, dtype = content["rows"], str(content["dtype"])
    each = 4 if dtype == "fp32" else 2
    gemms, attentions, vectors = {}, {}, {}
    found = [row for row in rows if row["kind"] == "gemm"]
    if found:
        m, n, k, seconds = _columns(found, "m", "n", "k", "latency_s")
        # 16-bit types run alike on the units that have both, so one fit serves either.
        key = "bf16" if dtype == "fp16" else dtype
        gemms[key] = GemmSamples(m, n, k, each * (m * k + n * k + m * n), seconds)
    for phase in ("prefill", "decode"):
        found = [row for row in rows if row["kind"] == "attention" and row["phase"] == phase]
        if found:
            names = ("batch", "keys", "heads", "kv_heads", "head_dim", "latency_s")
            attentions[phase, "torch"] = AttentionSamples(*_columns(found, *names))
    for name in sorted({row["name"] for row in rows if row["kind"] == "vector"}):
        found = [row for row in rows if row["kind"] == "vector" and row["name"] == name]
        tokens, width, seconds = _columns(found, "tokens", "width", "latency_s")
        cached = np.array([float(row.get("cached", False)) for row in found])
        moved = PASSES_OVER[name] * each * tokens * width
        vectors[f"torch.{name}"] = VectorSamples(moved, cached, seconds)
    return Samples(gemms, attentions, vectors)
