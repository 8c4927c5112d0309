"""Numeric operators for inference whose error is known.

Functions take numpy arrays or torch tensors and answer in the same library, dtype and device. Formats and
simulated sums are in `stable_ops.fp`, what other test suites can use in `stable_ops.testing`.
"""

from stable_ops.drop_in import patch
from stable_ops.linalg import (
    EigenCondition,
    EigenResult,
    eigenvalue_condition,
    gram_schmidt,
    householder_qr,
    inverse_iteration,
    lstsq_qr,
    matrix_norm,
    power_iteration,
    rayleigh_iteration,
    vector_norm,
)
from stable_ops.ops import (
    OnlineSoftmax,
    TruncationReport,
    gelu,
    layer_norm,
    log_softmax,
    logsumexp,
    min_p_sample,
    nucleus,
    rms_norm,
    sample,
    silu,
    softmax,
    swiglu,
    top_k_sample,
    top_p_sample,
    truncation_report,
)
from stable_ops.optim import SGD, Adam, AdamW, NewtonResult, newton_search

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "EigenCondition",
    "EigenResult",
    "NewtonResult",
    "OnlineSoftmax",
    "TruncationReport",
    "eigenvalue_condition",
    "gelu",
    "gram_schmidt",
    "householder_qr",
    "inverse_iteration",
    "layer_norm",
    "log_softmax",
    "logsumexp",
    "lstsq_qr",
    "matrix_norm",
    "min_p_sample",
    "newton_search",
    "nucleus",
    "patch",
    "power_iteration",
    "rayleigh_iteration",
    "rms_norm",
    "sample",
    "silu",
    "softmax",
    "swiglu",
    "top_k_sample",
    "top_p_sample",
    "truncation_report",
    "vector_norm",
]
