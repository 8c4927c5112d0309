"""The operators: numpy arrays or torch tensors in, the same kind out, rounded once."""

from stable_ops.ops.activations import gelu, silu, swiglu
from stable_ops.ops.attention import attention
from stable_ops.ops.norms import layer_norm, rms_norm
from stable_ops.ops.online import OnlineSoftmax
from stable_ops.ops.sampling import (
    TruncationReport,
    min_p_sample,
    nucleus,
    sample,
    top_k_sample,
    top_p_sample,
    truncation_report,
)
from stable_ops.ops.softmax import log_softmax, logsumexp, softmax

__all__ = [
    "OnlineSoftmax",
    "TruncationReport",
    "attention",
    "gelu",
    "layer_norm",
    "log_softmax",
    "logsumexp",
    "min_p_sample",
    "nucleus",
    "rms_norm",
    "sample",
    "silu",
    "softmax",
    "swiglu",
    "top_k_sample",
    "top_p_sample",
    "truncation_report",
]
