"""Numeric operators for inference whose error is known.

Functions take numpy arrays or torch tensors and answer in the same library, dtype and device. Formats and
simulated sums are in `stable_ops.fp`, what other test suites can use in `stable_ops.testing`.
"""

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
    gelu,
    layer_norm,
    log_softmax,
    logsumexp,
    nucleus,
    rms_norm,
    silu,
    softmax,
    swiglu,
    top_k_sample,
    top_p_sample,
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
    "newton_search",
    "nucleus",
    "power_iteration",
    "rayleigh_iteration",
    "rms_norm",
    "silu",
    "softmax",
    "swiglu",
    "top_k_sample",
    "top_p_sample",
    "vector_norm",
]
