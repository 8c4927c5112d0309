"""Where a torch module would lose digits in a narrow format, predicted from one float32 run."""

from stable_ops.audit.report import AuditReport, Hazard
from stable_ops.audit.run import audit, load_subject

__all__ = ["AuditReport", "Hazard", "audit", "load_subject"]
