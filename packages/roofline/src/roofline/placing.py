"""An operator on the roofline of a device: which ceiling binds it, and the least time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mfi_command import BadInput
from roofline.hardware import Device
from roofline.operators import Operator

# Rows and columns of results that multiprocessors sharing loads work on together: what a product re-reads
# from L2.
_TILE = 256
_QUERIES = 128  # of one head that share the keys and values they load


@dataclass(frozen=True)
class Placed:
    """An operator with its place on the roofline.

    Attributes
    ----------
    operator
        What it computes and moves.
    bound
        The ceiling that takes longest: "compute", "memory" (HBM or DRAM), and, where the device has a figure
        for it, "l2", "launch" or "link".
    time_s
        The longest of `times_s`: a floor, what perfect kernels would take.
    peak_flop_per_s
        The ceiling used: the matrix rate of the dtype, or the fp32 vector rate for vector operators.
    times_s
        Seconds by ceiling.
    """

    operator: Operator
    bound: str
    time_s: float
    peak_flop_per_s: float
    times_s: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            **self.operator.to_dict(),
            "bound": self.bound,
            "time_s": self.time_s,
            "times_s": dict(self.times_s),
            "attainable_flop_per_s": self.operator.flop / self.time_s if self.time_s else None,
        }


def place(operator: Operator, device: Device, *, dtype: str) -> Placed:
    """Put an operator on the roofline of `device`.

    Matrix products and attention use the peak of `dtype`; vector operators the fp32 vector peak where the
    table has one, since they do not run on matrix units. A tie goes to compute.
    """
    kind = "fp32" if operator.kind in ("vector", "gather") and "fp32" in device.peaks_flop_per_s else dtype
    peak = device.peak_flop_per_s(kind)
    if operator.kind == "collective":
        times = {"link": operator.bytes / _link(device)}
    else:
        times = {"compute": operator.flop / peak, "memory": operator.bytes / device.bandwidth_bytes_per_s}
        if "l2" in device.levels_bytes_per_s:
            times["l2"] = l2_bytes(operator) / device.levels_bytes_per_s["l2"]
    if device.launch_s is not None:
        times["launch"] = device.launch_s * operator.count
    bound = max(times, key=lambda key: times[key])
    return Placed(operator, bound, times[bound], peak, times)


def l2_bytes(operator: Operator) -> int:
    """Bytes between the L2 and the multiprocessors.

    A product re-reads its operands once a tile of results, attention its keys and values once a tile of
    queries of each head; everything else moves what it moves to memory. Counters of an H200 are within a
    tenth of it for large products and for prefill (`benchmarks/judge_kernels.py`); they count stores twice.
    """
    if operator.kind == "matmul" and len(operator.sizes) == 3:
        m, n, k = operator.sizes
        elements = m * k + k * n + m * n
        rereads = k * (m * (-(-n // _TILE) - 1) + n * (-(-m // _TILE) - 1))
    elif operator.kind == "attention" and len(operator.sizes) == 6:
        batch, queries, keys, heads, kv_heads, width = operator.sizes
        elements = 2 * batch * width * (queries * heads + keys * kv_heads)
        # 4 FLOP an element of a key and of its value, which _QUERIES queries share.
        once = 2 * batch * keys * kv_heads * width
        rereads = max(0, operator.flop // operator.count // (2 * _QUERIES) - once)
    else:
        return operator.bytes
    stored = max(1, operator.bytes // (operator.count * elements))
    return operator.bytes + rereads * stored * operator.count


def _link(device: Device) -> float:
    if device.link_bytes_per_s is None:
        raise BadInput(
            f"{device.name} has no link_bytes_per_s, which collectives need: bytes/s out of one device"
        )
    return device.link_bytes_per_s
