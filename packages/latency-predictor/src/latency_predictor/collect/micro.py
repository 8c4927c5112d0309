"""Microbenchmarks of the operators that predictions are made of.

Weights, caches and inputs are random and lie in a pool far larger than the last cache; the calls of one
measurement walk through it, so that each finds its operands in memory and not in the cache, as it would
after the rest of a model has run.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from latency_predictor.collect.timer import Timing, captured, replayed, wall

# (n, k) of the projections of published models, and sizes in between that none has.
SITES = (
    (768, 768), (2048, 2048), (8192, 2048), (2048, 8192), (3072, 3072), (8192, 3072), (3072, 8192),
    (3584, 3584), (512, 3584), (18944, 3584), (3584, 18944), (4096, 4096), (1024, 4096), (6144, 4096),
    (11008, 4096), (4096, 11008), (14336, 4096), (4096, 14336), (28672, 4096), (16384, 4096),
    (4096, 16384), (5120, 5120), (13824, 5120), (5120, 13824), (20480, 5120), (5120, 20480),
    (7168, 7168), (28672, 7168), (7168, 28672), (8192, 8192), (28672, 8192), (8192, 28672),
    (32000, 4096), (50272, 4096), (128256, 4096), (152064, 3584), (9000, 6000), (1536, 6400),
    (2304, 1792), (12000, 2600),
)  # fmt: skip
ROWS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096, 8192)
# (heads, kv heads, head width)
HEADS = (
    (32, 32, 64), (32, 32, 128), (40, 40, 128), (56, 56, 128), (32, 8, 64), (32, 8, 128), (24, 8, 128),
    (28, 4, 128), (64, 8, 128), (40, 8, 128), (14, 2, 64),
)  # fmt: skip
WIDTHS = (896, 2048, 3584, 4096, 5120, 7168, 14336)
# The last two as transformers writes them, several kernels each.
VECTORS = (
    "rms", "layer", "add", "silu", "relu", "multiply", "rotary", "kv_write", "embedding", "rms_written",
    "rotary_written",
)  # fmt: skip
HEAD = 128  # width of one in rotary_written
_POOL_BYTES = {"cuda": 6_000_000_000, "cpu": 400_000_000}
_LARGEST_FLOP = {"cuda": 4e12, "cpu": 4e9}
# A product without pauses for so long: a chip at its limit of power has lowered its clocks by then.
_STEADY_SIZE = {"cuda": 8192, "cpu": 1024}
_STEADY_S = {"cuda": 2.0, "cpu": 0.3}
_REST_S = 0.3


def plan(kind: str, *, seed: int = 0) -> list[dict[str, Any]]:
    """What to measure on a device of `kind` ("cuda" or "cpu"), in random order."""
    wanted = [*_gemms(kind), *_attentions(kind), *_vectors(kind)]
    random.Random(seed).shuffle(wanted)
    size = dict.fromkeys("mnk", _STEADY_SIZE[kind])
    return [*wanted, *({"kind": "sustained", "rested": rested, **size} for rested in (True, False))]


def _gemms(kind: str) -> Iterator[dict[str, Any]]:
    sites = SITES if kind == "cuda" else SITES[:8]
    rows = ROWS if kind == "cuda" else ROWS[:16:3]
    for number, (n, k) in enumerate(sites):
        # Every other row at every other site: half the time, and no row or site is missing.
        for m in rows[number % 2 :: 2] if kind == "cuda" else rows:
            if 2 * m * n * k <= _LARGEST_FLOP[kind]:
                yield {"kind": "gemm", "m": m, "n": n, "k": k}


def _attentions(kind: str) -> Iterator[dict[str, Any]]:
    heads = HEADS if kind == "cuda" else (*HEADS[:2], *HEADS[-2:])
    for number, (query, kv, dim) in enumerate(heads):
        common = {"heads": query, "kv_heads": kv, "head_dim": dim}
        batches = (1, 2, 4, 8, 16, 32, 64, 128) if kind == "cuda" else (1, 2, 4, 8)
        lengths = (128, 256, 512, 1024, 2048, 4096, 8192) if kind == "cuda" else (32, 64, 128, 256, 512)
        for row, batch in enumerate(batches):
            for keys in lengths[(number + row) % 2 :: 2]:
                if 4 * batch * keys * kv * dim <= _POOL_BYTES[kind] // 3:
                    yield {"kind": "attention", "phase": "decode", "batch": batch, "keys": keys, **common}
            for keys in lengths[(number + row) % 3 :: 3]:
                if 2 * batch * query * dim * keys**2 <= _LARGEST_FLOP[kind] / 2:
                    yield {"kind": "attention", "phase": "prefill", "batch": batch, "keys": keys, **common}


def _vectors(kind: str) -> Iterator[dict[str, Any]]:
    widths = WIDTHS if kind == "cuda" else WIDTHS[:2]
    for number, name in enumerate(VECTORS):
        for tokens in (1, 8, 64, 512, 2048, 8192) if kind == "cuda" else (1, 64, 512):
            for width in widths[(number + tokens) % 2 :: 2]:
                for cached in (False, True):
                    entry = {"kind": "vector", "name": name, "tokens": tokens, "width": width}
                    yield {**entry, "cached": cached}


class Bench:
    """Measures entries of `plan` on one device.

    Parameters
    ----------
    device
        "cuda" or "cpu".
    dtype
        As torch takes it.
    budget_s
        Seconds that the runs of one entry may take.
    """

    def __init__(self, device: str, dtype: Any, *, budget_s: float = 0.01) -> None:
        import torch

        self.device, self.dtype, self.budget_s = device, dtype, budget_s
        self.pool = torch.empty(_POOL_BYTES[device] // 2, dtype=dtype, device=device)
        for start in range(0, self.pool.numel(), 1 << 28):  # one call would take as much memory again
            self.pool[start : start + (1 << 28)].normal_(0, 0.02)
        self.far = self.pool.numel() * 2 // 12  # bytes after which nothing of a call is cached any more

    def measure(self, entry: Mapping[str, Any]) -> Timing:
        """Seconds of one call."""
        if entry["kind"] == "sustained":
            return self._sustained(entry)
        make = {"gemm": self._gemm, "attention": self._attention, "vector": self._vector}[entry["kind"]]
        operands, call = make(entry)
        each = sum(math.prod(size) for size in operands)
        calls = int(min(40, max(2, self.far / (2 * each))))
        if entry.get("cached"):  # the same operands each time, as an operator finds what was just written
            sets = self._slices(operands, 1) * 20
            calls = 20
        else:
            sets = self._slices(operands, calls)

        def run() -> None:
            for tensors in sets:
                call(*tensors)

        if self.device == "cuda":
            graph = captured(run)
            timing = replayed(graph, budget_s=self.budget_s, calls=calls)
            graph.reset()
            return timing
        return wall(run, budget_s=self.budget_s, calls=calls, warm=1)

    def _sustained(self, entry: Mapping[str, Any]) -> Timing:
        """A product after a rest, or after seconds of the same."""
        sizes, call = self._gemm(entry)
        tensors = self._slices(sizes, 1)[0]
        if entry["rested"]:
            time.sleep(_REST_S)
        stop = time.perf_counter() + (0.0 if entry["rested"] else _STEADY_S[self.device])
        while time.perf_counter() < stop:
            call(*tensors)
            self._synchronize()
        return wall(lambda: call(*tensors), synchronize=self._synchronize, budget_s=self.budget_s, warm=1)

    def _synchronize(self) -> None:
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()

    def _slices(self, sizes: list[tuple[int, ...]], calls: int) -> list[list[Any]]:
        """`calls` sets of tensors, one after the other in the pool, from its beginning again at its end."""
        place, sets = 0, []
        for _ in range(calls):
            tensors = []
            for size in sizes:
                count = math.prod(size)
                if place + count > self.pool.numel():
                    place = 0
                tensors.append(self.pool[place : place + count].view(size))
                place += -(-count // 128) * 128  # keep 256-byte alignment
            sets.append(tensors)
        return sets

    def _gemm(self, entry: Mapping[str, Any]) -> tuple[list[tuple[int, ...]], Callable[..., Any]]:
        from torch.nn.functional import linear

        m, n, k = entry["m"], entry["n"], entry["k"]
        return [(m, k), (n, k)], linear

    def _attention(self, entry: Mapping[str, Any]) -> tuple[list[tuple[int, ...]], Callable[..., Any]]:
        from torch.nn.functional import scaled_dot_product_attention

        batch, keys, dim = entry["batch"], entry["keys"], entry["head_dim"]
        new = keys if entry["phase"] == "prefill" else 1
        cache = (batch, entry["kv_heads"], keys, dim)
        grouped = entry["kv_heads"] != entry["heads"]

        def call(q: Any, k: Any, v: Any) -> Any:
            # Queries lie token by token, as a projection leaves them.
            return scaled_dot_product_attention(
                q.transpose(1, 2), k, v, is_causal=new > 1, enable_gqa=grouped
            )

        return [(batch, new, entry["heads"], dim), cache, cache], call

    def _vector(self, entry: Mapping[str, Any]) -> tuple[list[tuple[int, ...]], Callable[..., Any]]:
        import torch
        from torch.nn import functional

        tokens, width = entry["tokens"], entry["width"]
        size, weight, name = (tokens, width), (width,), entry["name"]
        if name == "rms":
            return [size, weight], lambda x, w: functional.rms_norm(x, (width,), w, 1e-5)
        if name == "layer":
            return [size, weight, weight], lambda x, w, b: functional.layer_norm(x, (width,), w, b)
        if name in ("add", "multiply"):
            return [size, size], torch.add if name == "add" else torch.mul
        if name in ("silu", "relu"):
            return [size], functional.silu if name == "silu" else functional.relu
        if name == "kv_write":
            return [size, size], lambda x, y: x.copy_(y)
        if name == "embedding":
            rows = 8192
            ids = torch.randint(0, rows, (tokens,), device=self.device)
            return [(rows, width)], lambda table: functional.embedding(ids, table)
        if name == "rms_written":
            return [size, weight], rms_written
        if name == "rotary_written":
            heads = (tokens, width // HEAD, HEAD)
            return [heads, (tokens, HEAD), (tokens, HEAD)], rotary_written
        angles = (tokens, 1, 64)

        def rotary(x: Any, cos: Any, sin: Any) -> Any:
            first, second = x.chunk(2, dim=-1)
            return torch.addcmul(x * cos, torch.cat((-second, first), dim=-1), sin)

        return [(tokens, width // 64, 64), angles, angles], rotary


def rms_written(x: Any, weight: Any) -> Any:
    """RMSNorm in eight kernels, in float32 inside."""
    import torch

    wide = x.to(torch.float32)
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)
    return weight * wide.to(x.dtype)


def rotary_written(x: Any, cos: Any, sin: Any) -> Any:
    """Rotary positions in five kernels, on `(heads, tokens, width)` that lies token by token."""
    import torch

    x = x.transpose(0, 1)
    first, second = x.chunk(2, dim=-1)
    return (x * cos) + (torch.cat((-second, first), dim=-1) * sin)
