"""Floating-point formats: their constants, one rounding, sums in a stated order."""

from stable_ops.fp.accumulate import Accumulation, accumulate, predict_sum_error
from stable_ops.fp.formats import FORMATS, Format, get_format
from stable_ops.fp.rounding import round_to, ulp

__all__ = [
    "FORMATS",
    "Accumulation",
    "Format",
    "accumulate",
    "get_format",
    "predict_sum_error",
    "round_to",
    "ulp",
]
