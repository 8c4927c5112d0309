"""The operators inside a torch module that is there already: `patch`, its report, and the way back."""

from stable_ops.drop_in.patch import Patch, patch
from stable_ops.drop_in.report import Left, PatchReport, Replaced

__all__ = ["Left", "Patch", "PatchReport", "Replaced", "patch"]
