"""What running a model as its Python code is written adds: kernels that nothing fuses, and the time to
issue them.

A pass takes the larger of two times: the device's, and the processor's to launch kernel after kernel. Only
their larger counts, since the processor runs ahead of the device.
"""

from __future__ import annotations

from dataclasses import dataclass

from latency_predictor.coefficients import DeviceFit, hardware_of
from latency_predictor.kernels import operator_s
from latency_predictor.timing import smooth_max
from roofline import Analysis, Operator

# Times the bytes and kernels of an operator that transformers writes as several: RMSNorm upcasts, squares,
# averages, scales, downcasts and weighs (36 bytes an element where 4 are compulsory); rotation negates,
# joins, multiplies twice and adds (20 for 4); a gated activation writes its intermediate (10 for 6).
TRAFFIC = {"rms": 9.0, "rotary": 5.0, "gated": 5 / 3}
KERNELS = {"rms": 6, "rotary": 10, "gated": 2, "attention": 3, "other": 1}
# How sharply the larger of the two times takes over; the processor's own time varies more than this matters.
_SHARPNESS = 8.0


@dataclass(frozen=True)
class Eager:
    """`device_share`: device time over the sum of the kernels' own; `issue_s`: seconds to issue a kernel."""

    device_share: float
    issue_s: float


def _form(operator: Operator, analysis: Analysis) -> str:
    if operator.name in ("norm", "final_norm", "q_norm", "k_norm"):
        return "rms" if analysis.shape.family.norm == "rms" else "other"
    if operator.name == "activation":
        return "gated" if analysis.shape.family.gated else "other"
    return {"rotary": "rotary", "attention": "attention"}.get(operator.name, "other")


def eager_device_s(operator: Operator, analysis: Analysis, fit: DeviceFit) -> float:
    """Seconds of device time of an operator in all its unfused kernels."""
    form = _form(operator, analysis)
    seconds = operator_s(operator, analysis, fit) * TRAFFIC.get(form, 1.0)
    if operator.name == "kv_write" and analysis.phase == "decode":
        # Joining the new key and value to the cache copies all of it: read once, written once.
        seconds += (
            2 * analysis.kv_cache_bytes / hardware_of(analysis.device, analysis.dtype).bandwidth_bytes_per_s
        )
    return seconds


def kernels(analysis: Analysis) -> int:
    """Kernels that one pass launches."""
    return sum(
        placed.operator.count * KERNELS.get(_form(placed.operator, analysis), 1)
        for placed in analysis.operators
    )


def eager_s(analysis: Analysis, eager: Eager, fit: DeviceFit) -> float:
    """Seconds of one pass: the larger of device time and issue time."""
    busy = sum(eager_device_s(placed.operator, analysis, fit) for placed in analysis.operators)
    return smooth_max(busy * eager.device_share, kernels(analysis) * eager.issue_s, _SHARPNESS)
