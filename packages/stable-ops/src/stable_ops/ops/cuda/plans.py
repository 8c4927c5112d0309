"""Which rows the clusters take, and how: `plans.json`, which `benchmarks/tune.py` chose by timing."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from stable_ops.ops.cuda.rows import PER_VECTOR, Plan


def softmax(length: int) -> Plan | None:
    """For bfloat16 rows of that length; none where the kernels in Triton are as fast."""
    return _of("softmax", length)


def norms(length: int, *, centre: bool) -> Plan | None:
    """For 16-bit rows of that length; none where the kernels in Triton are as fast."""
    return _of("layer_norm" if centre else "rms_norm", length)


def _of(op: str, length: int) -> Plan | None:
    if length % PER_VECTOR:
        return None
    for measured, fields in chosen()[op]:
        # What holds for a length is taken to hold down to half of it.
        if measured // 2 < length <= measured:
            return Plan(*fields) if fields else None
    return None


@functools.cache
def chosen() -> dict[str, Any]:
    """By operator the pairs (length, fields of `Plan` or none), shortest first; read once a process."""
    text = (Path(__file__).parent / "plans.json").read_text(encoding="utf-8")
    plans: dict[str, Any] = json.loads(text)["plans"]
    return plans
