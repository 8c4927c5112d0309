"""Floating-point formats: their constants, one rounding, block scales, sums in a stated order."""

from stable_ops.fp.accumulate import Accumulation, accumulate, accumulate_dot, predict_sum_error
from stable_ops.fp.blocks import BLOCK_FORMATS, BlockFormat, Blocks, get_block_format, round_to_blocks
from stable_ops.fp.formats import FORMATS, Format, get_format
from stable_ops.fp.reading import read_formats
from stable_ops.fp.rounding import round_to, ulp

__all__ = [
    "BLOCK_FORMATS",
    "FORMATS",
    "Accumulation",
    "BlockFormat",
    "Blocks",
    "Format",
    "accumulate",
    "accumulate_dot",
    "get_block_format",
    "get_format",
    "predict_sum_error",
    "read_formats",
    "round_to",
    "round_to_blocks",
    "ulp",
]
