"""Passes composed of other people's measured kernels: a layer by Vidur and, where its heads were measured,
the
attention of vLLM by aiconfigurator. Nobody measured whole passes of these on these GPUs in the open; a sum of
kernels is what a pass takes when nothing comes between them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from third_party import COUNTS, hardware

from latency_predictor.device_fit import DeviceFit
from latency_predictor.fitting.operators import attention_seconds, gemm_seconds
from latency_predictor.fitting.samples import AttentionSamples, GemmSamples
from latency_predictor.timing import vector_s

DECODE_TOKENS = 64  # a layer over so many tokens is a decode step, over more a prefill


@dataclass(frozen=True)
class Layers:
    """Vidur's rows of one GPU as arrays: per row four products and the streams."""

    model: np.ndarray
    tokens: np.ndarray
    products: np.ndarray  # (rows, 4, 5): m, n, k, bytes, seconds
    streams: dict[str, np.ndarray]  # kind -> (rows, 2): bytes, seconds

    @property
    def decode(self) -> np.ndarray:
        return self.tokens <= DECODE_TOKENS

    @property
    def measured(self) -> np.ndarray:
        total = self.products[:, :, 4].sum(axis=1)
        return total + sum(count * self.streams[kind][:, 1] for kind, count in COUNTS.items())


def as_arrays(chosen: list[dict]) -> Layers:
    return Layers(
        np.array([one["model"] for one in chosen]),
        np.array([one["tokens"] for one in chosen]),
        np.array([one["products"] for one in chosen], dtype=float),
        {kind: np.array([one["streams"][kind] for one in chosen], dtype=float) for kind in COUNTS},
    )


def predicted(layers: Layers, fit: DeviceFit, gpu: str) -> np.ndarray:
    """Seconds of each row by a fit."""
    on = hardware(gpu)("bf16")
    flat = GemmSamples(*layers.products.reshape(-1, 5).T)
    seconds = gemm_seconds(flat, fit.gemms["bf16"], fit.residuals.get("gemm.bf16"), on)
    total = seconds.reshape(-1, 4).sum(axis=1)
    for kind, count in COUNTS.items():
        total = total + count * vector_s(layers.streams[kind][:, 0], fit.vectors[f"vllm.{kind}"], on)
    return total


def by_phase(layers: Layers, logs: np.ndarray, names: np.ndarray) -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {"prefill": defaultdict(list), "decode": defaultdict(list)}
    for decode, name, value in zip(layers.decode, names, logs, strict=True):
        found["decode" if decode else "prefill"][str(name)].append(float(value))
    return found


def attention_logs(rows: AttentionSamples, fit: DeviceFit, gpu: str, phase: str) -> np.ndarray:
    """log(measured / predicted) of vLLM's attention by a fit."""
    made = (fit.prefills if phase == "prefill" else fit.decodes)["vllm"]
    residual = fit.residuals.get(f"{phase}.vllm")
    return np.log(rows.seconds / attention_seconds(rows, made, residual, hardware(gpu)("bf16")))
