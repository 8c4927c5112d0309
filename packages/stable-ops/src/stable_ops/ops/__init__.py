"""The operators: numpy arrays or torch tensors in, the same kind out, rounded once."""

from stable_ops.ops.activations import gelu, silu, swiglu
from stable_ops.ops.norms import layer_norm, rms_norm
from stable_ops.ops.online import OnlineSoftmax
from stable_ops.ops.sampling import nucleus, top_k_sample, top_p_sample
from stable_ops.ops.softmax import log_softmax, logsumexp, softmax

__all__ = [
    "OnlineSoftmax",
    "gelu",
    "layer_norm",
    "log_softmax",
    "logsumexp",
    "nucleus",
    "rms_norm",
    "silu",
    "softmax",
    "swiglu",
    "top_k_sample",
    "top_p_sample",
]
