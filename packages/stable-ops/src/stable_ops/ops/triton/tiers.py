"""What each kernel promises about its results."""

from __future__ import annotations

from typing import Literal

Tier = Literal["T1", "T2"]

# T1: the bits of the float64 reference, which are the correctly rounded ones off its documented ties.
# T2: at most 0.501 ulp, and bits that depend neither on the batch nor on the launch.
LIMIT_ULP: dict[Tier, float] = {"T1": 0.5, "T2": 0.501}

_NARROW: dict[str, Tier] = {
    "softmax": "T2",
    "log_softmax": "T2",
    "logsumexp": "T2",
    "layer_norm": "T1",
    "rms_norm": "T1",
    "gelu": "T1",
    "silu": "T1",
    "swiglu": "T1",
}


def tier(op: str, dtype: str) -> Tier:
    """The tier of an operator for "float16", "bfloat16" or "float32".

    float32 results are computed in float64 throughout and rounded once, with the bounds of the reference.

    Examples
    --------
    >>> tier("softmax", "float16"), tier("swiglu", "bfloat16")
    ('T2', 'T1')
    """
    return "T1" if dtype == "float32" else _NARROW[op]
