"""Measurements made by others, as samples. They are not part of this repository; DATA is a folder with

vidur_mlp_median.csv.gz, vidur_network_median.csv.gz (microsoft/vidur 7d475133, MIT),
aiconfigurator_*.csv.gz (ai-dynamo/aiconfigurator 095f58a5, Apache-2.0), and
opt_small_a100_published.csv (figures of the SmoothQuant paper and repository,
mit-han-lab/smoothquant c61476d7, MIT).
"""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from functools import cache
from pathlib import Path

import numpy as np

from latency_predictor.device_fit import hardware_of
from latency_predictor.fitting.least import fit_operator
from latency_predictor.fitting.samples import AttentionSamples, GemmSamples, Samples, VectorSamples
from latency_predictor.timing import Exchange, Hardware, exchange_s
from roofline import device

NAMES = {"a100": "A100-SXM4-80GB", "h100": "H100-SXM5-80GB", "h200": "H200-SXM", "a40": "A40"}
SOURCES = {
    "vidur": "microsoft/vidur 7d475133 (MIT): median times of the operators of a layer",
    "aic": "ai-dynamo/aiconfigurator 095f58a5 (Apache-2.0): kernels of vLLM, collectives of NCCL",
    "own": "benchmarks/results of this repository",
}
VECTORS = {
    "norm": "input_layernorm_ms",
    "rotary": "attn_rope_ms",
    "activation": "mlp_act_ms",
    "add": "add_ms",
    "embedding": "emb_ms",
}
PRODUCTS = ("attn_pre_proj_ms", "attn_post_proj_ms", "mlp_up_proj_ms", "mlp_down_proj_ms")
COUNTS = {"norm": 2, "rotary": 1, "activation": 1, "add": 2}  # in a layer


def hardware(gpu: str):
    """The data sheet of a GPU, by dtype."""
    found = device(NAMES[gpu])
    return lambda dtype: hardware_of(found, dtype)


@cache
def rows_of(data: Path, name: str) -> list[dict[str, str]]:
    """The rows of a compressed table."""
    with gzip.open(data / name, "rt", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@cache
def gemms(data: Path, gpu: str, dtype: str, *, cold: bool = True) -> GemmSamples | None:
    """Products; with `cold` those whose weights do not fit the L2: the hot loop they were timed in would else
    read none of them from memory.
    """
    named = {"bf16": "bfloat16", "fp8": "fp8"}[dtype]
    found = np.array([
        [float(row[key]) for key in ("m", "n", "k", "latency")]
        for row in rows_of(data, "aiconfigurator_gemm_perf_vllm.csv.gz")
        if row["system"] == f"{gpu}_sxm" and row["gemm_dtype"] == named
    ])  # fmt: skip
    if not len(found):
        return None
    m, n, k, ms = found.T
    each = 1 if dtype == "fp8" else 2
    samples = GemmSamples(m, n, k, each * (m * k + n * k) + 2 * m * n, ms / 1e3)
    return samples.take(n * k * each > hardware(gpu)(dtype).l2_bytes) if cold else samples


@cache
def attention(data: Path, gpu: str, phase: str) -> AttentionSamples | None:
    """Attention of vLLM without a window over a 16-bit cache."""
    name = "context" if phase == "prefill" else "generation"
    length = "isl" if phase == "prefill" else "step"
    names = ("batch_size", length, "num_heads", "num_key_value_heads", "head_dim", "latency")
    found = np.array([
        [float(row[key]) for key in names]
        for row in rows_of(data, f"aiconfigurator_{name}_attention_perf_vllm.csv.gz")
        if row["system"] == f"{gpu}_sxm" and row["window_size"] in ("", "0")
        and row["kv_cache_dtype"] == "bfloat16"
    ])  # fmt: skip
    if not len(found):
        return None
    batch, keys, heads, kv, dim, ms = found.T
    return AttentionSamples(batch, keys + (phase == "decode"), heads, kv, dim, ms / 1e3)


def layers(data: Path) -> list[dict]:
    """Vidur: one entry a row, with its products (m, n, k, bytes, seconds) and streams (bytes, seconds)."""
    found = []
    for row in rows_of(data, "vidur_mlp_median.csv.gz"):
        if not all(row[column] and float(row[column]) > 0 for column in (*PRODUCTS, *VECTORS.values())):
            continue
        tokens, width, wide = (int(row[key]) for key in ("num_tokens", "n_embd", "n_expanded_embd"))
        parts, heads, kv = (int(row[key]) for key in ("num_tensor_parallel_workers", "n_head", "n_kv_head"))
        head_dim, kv_here = width // heads, max(1, kv // parts)
        query = head_dim * heads // parts
        shapes = (
            (query + 2 * head_dim * kv_here, width),
            (width, query),
            (2 * wide // parts, width),
            (width, wide // parts),
        )
        products = [
            (tokens, n, k, 2 * (tokens * k + n * k + tokens * n), float(row[column]) / 1e3)
            for column, (n, k) in zip(PRODUCTS, shapes, strict=True)
        ]
        moved = {
            "norm": 4 * tokens * width,
            "rotary": 4 * tokens * (query + head_dim * kv_here),
            "activation": 6 * tokens * wide // parts,
            "add": 6 * tokens * width,
            "embedding": 4 * tokens * width,
        }
        streams = {kind: (moved[kind], float(row[column]) / 1e3) for kind, column in VECTORS.items()}
        found.append({"gpu": row["gpu"], "model": row["model"], "tokens": tokens, "parts": parts,
                      "products": products, "streams": streams})  # fmt: skip
    return found


def sure(rows: GemmSamples, on: Hardware) -> GemmSamples:
    """Products of 16 bits that take as long wherever their weights were found: these do not fit the L2, or
    reading them from memory takes less than half as long as the arithmetic.
    """
    weight_bytes = 2 * rows.n * rows.k
    reading_s = weight_bytes / on.bandwidth_bytes_per_s
    arithmetic_s = 2 * rows.m * rows.n * rows.k / on.peak_flop_per_s
    return rows.take((weight_bytes > on.l2_bytes) | (2 * reading_s < arithmetic_s))


def vidur_samples(chosen: list[dict], on: Hardware) -> tuple[GemmSamples, dict[str, VectorSamples]]:
    """The rows of layers as samples: products that are `sure`, and every stream."""
    products = np.array([one for layer in chosen for one in layer["products"]], dtype=float)
    m, n, k, moved, seconds = products.T
    gemm = sure(GemmSamples(m, n, k, moved, seconds), on)
    streams = {}
    for kind in VECTORS:
        pairs = np.array([layer["streams"][kind] for layer in chosen], dtype=float)
        some = pairs[np.random.default_rng(0).choice(len(pairs), min(1200, len(pairs)), replace=False)]
        streams[f"vllm.{kind}"] = VectorSamples(some[:, 0], np.zeros(len(some)), some[:, 1])
    return gemm, streams


def joined(parts: list[GemmSamples]) -> GemmSamples:
    """Samples of several sources together, none with more than twice the rows of the smallest."""
    most = 2 * min(len(part.seconds) for part in parts) + 400
    generator = np.random.default_rng(0)
    some = [
        part.take(generator.choice(len(part.seconds), min(most, len(part.seconds)), replace=False))
        for part in parts
    ]
    return GemmSamples(*(
        np.concatenate([getattr(part, name) for part in some]) for name in GemmSamples.__dataclass_fields__
    ))  # fmt: skip


def exchanges(data: Path, gpu: str) -> dict[int, Exchange]:
    """All-reduce among GPUs of one host, by their number."""
    found: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for row in rows_of(data, "aiconfigurator_nccl_perf.csv.gz"):
        if row["system"] == f"{gpu}_sxm" and row["op_name"] == "all_reduce" and row["nccl_dtype"] == "half":
            # message_size counts elements
            found[int(row["num_gpus"])].append((2 * float(row["message_size"]), float(row["latency"]) / 1e3))
    made = {}
    for parts, pairs in sorted(found.items()):
        moved, seconds = np.array(pairs).T

        def formula(sent, fit, parts=parts):
            return exchange_s(sent, parts, fit)

        made[parts] = fit_operator(Exchange, formula, (moved,), seconds, None)
    return made


def third_party(data: Path, gpu: str, chosen: list[dict], *, layers_only: bool = False) -> Samples:
    """All of one GPU, or what its layers need."""
    rows, attentions, vectors = {}, {}, {}
    by_source = [gemms(data, gpu, "bf16")]
    if chosen:
        gemm, vectors = vidur_samples(chosen, hardware(gpu)("bf16"))
        by_source.append(gemm)
    rows["bf16"] = joined([part for part in by_source if part is not None])
    if layers_only:
        return Samples(rows, attentions, vectors)
    if gpu in ("h100", "h200"):
        rows["fp8"] = gemms(data, gpu, "fp8")
    for phase in ("prefill", "decode"):
        samples = attention(data, gpu, phase)
        if samples is not None:
            attentions[phase, "vllm"] = samples
    return Samples(rows, attentions, vectors)
