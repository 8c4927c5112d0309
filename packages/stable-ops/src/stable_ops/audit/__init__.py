"""Where a torch module or its tensors would lose digits in a narrow format, predicted from float32."""

from stable_ops.audit.report import AuditReport, Hazard
from stable_ops.audit.run import audit
from stable_ops.audit.subjects import load_checkpoint, load_subject, load_tensors
from stable_ops.audit.tensors import audit_tensors

__all__ = [
    "AuditReport",
    "Hazard",
    "audit",
    "audit_tensors",
    "load_checkpoint",
    "load_subject",
    "load_tensors",
]
