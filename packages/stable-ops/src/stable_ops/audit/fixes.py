"""What to write instead, by kind and operation."""

from __future__ import annotations

from stable_ops.audit.report import Kind

_FIXES: dict[tuple[str, str], str] = {
    ("overflow", "exp"): "subtract the maximum first: stable_ops.softmax or stable_ops.logsumexp",
    ("overflow", "pow"): "scale before squaring: stable_ops.rms_norm or stable_ops.vector_norm",
    ("overflow", "square"): "scale before squaring: stable_ops.rms_norm or stable_ops.vector_norm",
    ("overflow", "mul"): "scale an operand, or form and keep the product in float32",
    ("overflow", "layer_norm"): "accumulate in float32: stable_ops.layer_norm",
    ("overflow", "vector_norm"): "scale by the maximum: stable_ops.vector_norm",
    ("underflow", "softmax"): "keep probabilities in float32, or use stable_ops.log_softmax",
    ("underflow", "exp"): "work with logarithms: stable_ops.log_softmax or stable_ops.logsumexp",
    ("cancellation", "log"): "torch.log1p of what was added to one",
    ("cancellation", "layer_norm"): "keep the input in float32: stable_ops.layer_norm",
    ("cancellation", "batch_norm"): "keep the input in float32, or take the mean out before storing",
    ("cancellation", "group_norm"): "keep the input in float32, or take the mean out before storing",
    ("cancellation", "log_softmax"): "keep the logits in float32: stable_ops.log_softmax",
    ("cancellation", "softmax"): "keep the logits in float32: stable_ops.softmax",
    ("overflow", "store"): "scale the tensor (a power of two costs no digit), or store it in bf16 or float32",
    ("cancellation", "var"): "take a constant near the mean out before storing, or keep the input in float32",
}
_BY_KIND: dict[str, str] = {
    "overflow": "scale the values, or store them in bf16 or float32",
    "underflow": "scale the values up (a power of two costs no digit), or store them in float32",
    "absorption": "keep the larger operand (residual, running sum) in float32, or add by Kahan's method",
    "cancellation": "subtract in float32 before the operands are rounded; for a variance subtract the mean "
    "first instead of E[x^2] - E[x]^2",
}


def fix_of(kind: Kind, op: str) -> str:
    """The advice for this operation, or the one for its kind."""
    return _FIXES.get((kind, op)) or _BY_KIND[kind]
