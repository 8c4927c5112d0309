"""The coefficients and residuals of a device from `Samples`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from latency_predictor.device_fit import DeviceFit
from latency_predictor.fitting.least import fit_operator
from latency_predictor.fitting.samples import AttentionSamples, GemmSamples, Samples, VectorSamples
from latency_predictor.residual import Residual, attention_features, fit_residual, gemm_features
from latency_predictor.timing import (
    Decode,
    Gemm,
    Hardware,
    Prefill,
    Vector,
    decode_s,
    gemm_s,
    prefill_s,
    vector_s,
)
from mfi_command import BadInput

Floats = NDArray[np.float64]
MOST_ROWS = 1500  # that the coefficients are fitted on; the residual takes all
LEAST_ROWS = {"gemm": 12, "attention": 10, "vector": 4}


def _few(count: int, seed: int = 0) -> NDArray[np.int64]:
    if count <= MOST_ROWS:
        return np.arange(count)
    return np.random.default_rng(seed).choice(count, MOST_ROWS, replace=False)


def fit_gemm(rows: GemmSamples, on: Hardware) -> tuple[Gemm, Residual]:
    """Coefficients of products, and what they leave."""
    some = rows.take(_few(len(rows.seconds)))
    made = fit_operator(Gemm, gemm_s, (some.m, some.n, some.k, some.moved_bytes), some.seconds, on)
    features = gemm_features(rows.m, rows.n, rows.k, rows.moved_bytes, on)
    return made, fit_residual(features, np.log(rows.seconds / gemm_seconds(rows, made, None, on)))


def gemm_seconds(rows: GemmSamples, fit: Gemm, residual: Residual | None, on: Hardware) -> Floats:
    """Predictions for the rows."""
    plain = gemm_s(rows.m, rows.n, rows.k, rows.moved_bytes, fit, on)
    if residual is None:
        return plain
    features = gemm_features(rows.m, rows.n, rows.k, rows.moved_bytes, on)
    return np.asarray(plain * np.exp(residual.log_ratio(features)))


def fit_attention(rows: AttentionSamples, phase: str, on: Hardware) -> tuple[Prefill | Decode, Residual]:
    """Coefficients of attention, and what they leave."""
    some = rows.take(_few(len(rows.seconds)))
    made: Prefill | Decode
    if phase == "prefill":
        made = fit_operator(Prefill, prefill_s, _prefill_arguments(some), some.seconds, on)
    else:
        made = fit_operator(Decode, decode_s, _decode_arguments(some), some.seconds, on)
    plain = attention_seconds(rows, made, None, on)
    return made, fit_residual(_features(rows), np.log(rows.seconds / plain))


def attention_seconds(
    rows: AttentionSamples, fit: Prefill | Decode, residual: Residual | None, on: Hardware
) -> Floats:
    """Predictions for the rows."""
    if isinstance(fit, Prefill):
        batch, keys, heads, flop, moved = _prefill_arguments(rows)
        plain = prefill_s(batch, keys, heads, flop, moved, fit, on)
    else:
        batch, keys, kv_heads, moved = _decode_arguments(rows)
        plain = decode_s(batch, keys, kv_heads, moved, fit, on)
    if residual is None:
        return plain
    return np.asarray(plain * np.exp(residual.log_ratio(_features(rows))))


def _prefill_arguments(rows: AttentionSamples) -> tuple[Floats, ...]:
    return rows.batch, rows.keys, rows.heads, rows.flop(), rows.moved_bytes(phase="prefill")


def _decode_arguments(rows: AttentionSamples) -> tuple[Floats, ...]:
    return rows.batch, rows.keys, rows.kv_heads, rows.moved_bytes(phase="decode")


def _features(rows: AttentionSamples) -> Floats:
    return attention_features(rows.batch, rows.keys, rows.heads, rows.kv_heads, rows.head_dim)


def fit_vector(rows: VectorSamples, on: Hardware) -> Vector:
    """Coefficients of an element-wise kernel."""
    fixed = {} if rows.cached.any() and not rows.cached.all() else {"l2_ratio": 1.0}
    return fit_operator(
        Vector, _cached_or_not, (rows.moved_bytes, rows.cached), rows.seconds, on, fixed=fixed
    )


def _cached_or_not(moved_bytes: Floats, cached: Floats, fit: Vector, on: Hardware) -> Floats:
    cold = fit.launch_s + moved_bytes / (on.bandwidth_bytes_per_s * fit.bandwidth)
    return np.where(cached > 0, vector_s(moved_bytes, fit, on), cold)


def fit_device(
    name: str,
    samples: Samples,
    hardware: Callable[[str], Hardware],
    *,
    sources: tuple[str, ...] = (),
    extra: Mapping[str, object] | None = None,
) -> DeviceFit:
    """Everything that `samples` decide; what they lack is left to `device_fit.completed`.

    Parameters
    ----------
    hardware
        The numbers of the device for a dtype.

    Raises
    ------
    BadInput
        Too few rows of something.
    """
    gemms, prefills, decodes, residuals = {}, {}, {}, {}
    for dtype, rows in samples.gemms.items():
        _enough(f"products in {dtype}", len(rows.seconds), LEAST_ROWS["gemm"])
        gemms[dtype], residuals[f"gemm.{dtype}"] = fit_gemm(rows, hardware(dtype))
    anything = next(iter(samples.gemms), "bf16")
    for (phase, whose), attention in samples.attentions.items():
        _enough(f"attention ({phase})", len(attention.seconds), LEAST_ROWS["attention"])
        made, residuals[f"{phase}.{whose}"] = fit_attention(attention, phase, hardware(anything))
        if isinstance(made, Prefill):
            prefills[whose] = made
        else:
            decodes[whose] = made
    vectors = {}
    for kernel, streamed in samples.vectors.items():
        _enough(kernel, len(streamed.seconds), LEAST_ROWS["vector"])
        vectors[kernel] = fit_vector(streamed, hardware(anything))
    return DeviceFit(
        device=name,
        gemms=gemms,
        prefills=prefills,
        decodes=decodes,
        vectors=vectors,
        residuals=residuals,
        sources=sources,
        **(extra or {}),  # type: ignore[arg-type]
    )


def _enough(what: str, rows: int, least: int) -> None:
    if rows < least:
        raise BadInput(f"{rows} rows of {what}; a fit needs at least {least}: measure on with `collect`")
