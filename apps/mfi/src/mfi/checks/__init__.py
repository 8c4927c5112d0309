"""The rows of the acceptance table, each a function that computes its number from the public API."""

from mfi.checks.registry import Outcome, Skip, check

__all__ = ["Outcome", "Skip", "check"]
