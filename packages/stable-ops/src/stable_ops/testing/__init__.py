"""For test suites: error in ulp, the correctly rounded answer, the trial of a kernel, planted faults.

`stable_ops.testing.strategies` needs Hypothesis (the extra `testing`) and is imported by its own name.
"""

from stable_ops.testing import faults
from stable_ops.testing.check import CheckReport, Failure, check
from stable_ops.testing.rounded import Rounded, correctly_rounded
from stable_ops.testing.ulp import assert_ulp, error_ulp, misrounded

__all__ = [
    "CheckReport",
    "Failure",
    "Rounded",
    "assert_ulp",
    "check",
    "correctly_rounded",
    "error_ulp",
    "faults",
    "misrounded",
]
