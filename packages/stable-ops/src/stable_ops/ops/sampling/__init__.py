"""Sampling from logits: temperature, top-k, top-p, min-p; the exact set of tokens, one answer to a draw."""

from stable_ops.ops.sampling.draw import min_p_sample, sample, top_k_sample, top_p_sample
from stable_ops.ops.sampling.nucleus import nucleus
from stable_ops.ops.sampling.report import TruncationReport, truncation_report

__all__ = [
    "TruncationReport",
    "min_p_sample",
    "nucleus",
    "sample",
    "top_k_sample",
    "top_p_sample",
    "truncation_report",
]
