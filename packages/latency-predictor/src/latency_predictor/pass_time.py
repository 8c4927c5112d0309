"""Seconds of the passes of a model: every operator by its formula and residual, for many sizes at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latency_predictor.device_fit import DeviceFit
from latency_predictor.recipes import ATTENTION_CALLS, EAGER, RECIPES, form_of
from latency_predictor.residual import Residual, attention_features, gemm_features
from latency_predictor.sharding import exchanged_bytes
from latency_predictor.timing import Hardware, decode_s, exchange_s, gemm_s, prefill_s, vector_s
from latency_predictor.work import Attention, Flow, ModelWork
from mfi_command import BadInput

Floats = NDArray[np.float64]
# Attention as frameworks of 2022 ran it: the scores are written in float32, masked and normalised in a
# kernel of
# their own, and read again in 16 bits: 12 bytes a score; the batched products of narrow heads reach some
# 0.4 of the peak. Nothing here was fitted.
UNFUSED = "unfused"
_UNFUSED_BYTES_A_SCORE = 12
_UNFUSED_SHARE = 0.4
_EDGE = 2.0  # kernel lengths from the nearest measurement, beyond which a prediction is an extrapolation


@dataclass(frozen=True)
class Sizes:
    """Arrays of equal length: sequences, new tokens of each, and positions that attention covers."""

    batch: Floats
    queries: Floats
    keys: Floats

    @property
    def tokens(self) -> Floats:
        """New tokens of all sequences."""
        return self.batch * self.queries


@dataclass(frozen=True)
class Timed:
    """An operator of a pass, in all its runs: seconds, the calls of a host for it, and how far from
    measurements it is.
    """

    name: str
    count: int
    seconds: Floats
    calls: int
    beyond: Floats


@dataclass(frozen=True)
class Rules:
    """How a stack runs a model: a name of `RECIPES`, and whose attention."""

    recipe: str
    attention: str


def sizes(batch: Any, queries: Any, keys: Any) -> Sizes:
    """`Sizes` of numbers or arrays."""
    parts = np.broadcast_arrays(np.atleast_1d(batch), np.atleast_1d(queries), np.atleast_1d(keys))
    return Sizes(*(np.asarray(part, dtype=float) for part in parts))


def timed_operators(
    work: ModelWork, at: Sizes, *, rules: Rules, fit: DeviceFit, on: Hardware, phase: str
) -> list[Timed]:
    """Every operator of one pass (phase "prefill" or "decode") at every size."""
    found = []
    for flow in work.flows:
        if flow.kind == "matmul":
            found.append(_product(flow, at, work, fit, on))
        else:
            found.append(_stream(flow, at, work, rules, fit, on))
    for attention in work.attentions:
        found.append(_attention(attention, at, work, rules, fit, on, phase))
    if RECIPES[rules.recipe] is EAGER and phase == "decode":
        found.append(_join(at, work, fit, on))
    if work.parts > 1:
        found.append(_exchange(at, work, fit))
    return found


def _corrected(seconds: Floats, features: Floats, residual: Residual | None) -> tuple[Floats, Floats]:
    """`seconds` with the residual, and how many kernel lengths beyond the measurements each entry is."""
    if residual is None:
        return seconds, np.zeros_like(seconds)
    log_ratio, distance = residual.evaluate(features)
    return seconds * np.exp(log_ratio), np.maximum(0.0, distance - _EDGE)


def _product(flow: Flow, at: Sizes, work: ModelWork, fit: DeviceFit, on: Hardware) -> Timed:
    # Many sizes share few numbers of rows; each is computed once.
    rows, back = np.unique(flow.rows.at(at.tokens, at.batch), return_inverse=True)
    per_row = flow.bytes.tokens if flow.rows.tokens else flow.bytes.batch
    moved = flow.bytes.constant + per_row * rows
    key = work.dtype if work.dtype in fit.gemms else "bf16"
    made = fit.gemms[key]
    if fit.sustained is not None:
        made = replace(made, compute=made.compute * fit.sustained)
    seconds = gemm_s(rows, flow.columns, flow.inner, moved, made, on)
    features = gemm_features(rows, flow.columns, flow.inner, moved, on)
    seconds, beyond = _corrected(seconds, features, fit.residuals.get(f"gemm.{key}"))
    return Timed(flow.name, flow.count, flow.count * seconds[back], flow.count, beyond[back])


def _stream(flow: Flow, at: Sizes, work: ModelWork, rules: Rules, fit: DeviceFit, on: Hardware) -> Timed:
    moved = flow.bytes.at(at.tokens, at.batch)
    seconds, calls = np.zeros_like(moved), 0
    for kernel in RECIPES[rules.recipe].get(form_of(flow.name, work.shape), ()):
        made = fit.vectors.get(kernel.fitted)
        if made is None:
            raise BadInput(
                f"{kernel.fitted} was not measured on {fit.device}; `collect` the part micro again"
            )
        streamed = vector_s(kernel.traffic * moved, made, on) - made.launch_s
        launch_s = fit.vectors[kernel.launch or kernel.fitted].launch_s
        seconds = seconds + streamed + kernel.launches * launch_s
        calls += kernel.launches * kernel.calls
    return Timed(flow.name, flow.count, flow.count * seconds, flow.count * calls, np.zeros_like(moved))


def causal_pairs(queries: Floats, keys: Floats, window: int | None) -> Floats:
    """Query-key pairs under a causal mask, the queries being the last of `keys` positions."""
    width = keys if window is None else np.minimum(window, keys)
    first = keys - queries + 1
    ramp = np.maximum(0.0, width - first + 1)
    return np.asarray((first + width) * ramp / 2 + (queries - ramp) * width)


def _attention(
    one: Attention, at: Sizes, work: ModelWork, rules: Rules, fit: DeviceFit, on: Hardware, phase: str
) -> Timed:
    reach = at.keys if one.window is None else np.minimum(at.keys, one.window + at.queries - 1)
    moved = (
        2 * at.batch * at.queries * one.heads * one.head_dim * work.bits[0]
        + 2 * at.batch * reach * one.kv_heads * one.head_dim * work.bits[1]
    ) / 8
    name = "attention" if one.window is None else "attention_window"
    whose = rules.attention
    if whose == UNFUSED and phase == "prefill":
        seconds = _unfused(one, at, moved, fit, on)
        return Timed(name, one.count, one.count * seconds, 4 * one.count, np.zeros_like(seconds))
    whose = "vllm" if whose == UNFUSED else whose
    if phase == "decode":
        seconds = decode_s(at.batch, reach, one.kv_heads, moved, fit.decodes[whose], on)
    else:
        flop = 4 * at.batch * one.heads * one.head_dim * causal_pairs(at.queries, at.keys, one.window)
        seconds = prefill_s(at.batch, at.queries, one.heads, flop, moved, fit.prefills[whose], on)
    features = attention_features(at.batch, reach, one.heads, one.kv_heads, one.head_dim)
    seconds, beyond = _corrected(seconds, features, fit.residuals.get(f"{phase}.{whose}"))
    calls = ATTENTION_CALLS.get(rules.recipe, 1)
    return Timed(name, one.count, one.count * seconds, one.count * calls, beyond)


def _join(at: Sizes, work: ModelWork, fit: DeviceFit, on: Hardware) -> Timed:
    """Joining the new key and value to the cache copies all of it; the calls are those of writing it."""
    moved = np.zeros_like(at.keys)
    for one in work.attentions:
        moved = moved + one.count * 4 * at.batch * at.keys * one.kv_heads * one.head_dim * work.bits[1] / 8
    seconds = moved / (on.bandwidth_bytes_per_s * fit.vectors["torch.kv_write"].bandwidth)
    return Timed("kv_join", work.shape.layers, seconds, 0, np.zeros_like(seconds))


def _unfused(one: Attention, at: Sizes, moved: Floats, fit: DeviceFit, on: Hardware) -> Floats:
    scores = at.batch * one.heads * at.queries * at.keys  # the whole square: a mask is added, nothing skipped
    compute = 4 * scores * one.head_dim / (on.peak_flop_per_s * _UNFUSED_SHARE)
    rate = on.bandwidth_bytes_per_s * fit.gemms["bf16"].bandwidth
    return np.asarray(compute + (_UNFUSED_BYTES_A_SCORE * scores + moved) / rate)


def _exchange(at: Sizes, work: ModelWork, fit: DeviceFit) -> Timed:
    if work.parts not in fit.exchanges:
        known = ", ".join(map(str, sorted(fit.exchanges))) or "none"
        raise BadInput(f"no all-reduce among {work.parts} devices was measured; there are {known}")
    count = 2 * work.shape.layers
    moved = exchanged_bytes(work.shape.hidden, at.tokens, bits=work.bits[0])
    seconds = exchange_s(moved, work.parts, fit.exchanges[work.parts])
    return Timed("all_reduce", count, count * seconds, count, np.zeros_like(seconds))
