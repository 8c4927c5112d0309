"""Time of each operator of a pass from the fitted formulas."""

from __future__ import annotations

from latency_predictor.coefficients import DeviceFit, hardware_of
from latency_predictor.timing import VECTOR_KINDS, decode_s, gemm_s, prefill_s, vector_s
from roofline import Analysis, Operator


def operator_s(operator: Operator, analysis: Analysis, fit: DeviceFit) -> float:
    """Seconds of all `operator.count` runs on the analysed device."""
    on = hardware_of(analysis.device, analysis.dtype)
    moved = operator.bytes // operator.count
    if operator.kind == "matmul":
        m, n, k = operator.sizes
        seconds = gemm_s(m, n, k, moved, fit.gemm(analysis.dtype), on)
    elif operator.kind == "attention" and analysis.phase == "decode":
        batch, _, keys, _, kv_heads, _ = operator.sizes
        seconds = decode_s(batch, keys, kv_heads, moved, fit.decode, on)
    elif operator.kind == "attention":
        seconds = prefill_s(operator.flop // operator.count, moved, fit.prefill, on)
    else:
        seconds = vector_s(moved, fit.vectors[VECTOR_KINDS[operator.name]], on)
    return seconds * operator.count
