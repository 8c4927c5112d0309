"""Wrong kernels, each with one plausible mistake. A test suite that passes one of them is not a test suite.

Each takes numpy arrays as the operator does and answers in the dtype of the first. `FAULTS` lists them, `of`
those that pretend to be one operator.
"""

from stable_ops.testing.faults import activations, norms, sampling, softmax
from stable_ops.testing.faults.registry import FAULTS, Fault, of

__all__ = ["FAULTS", "Fault", "activations", "norms", "of", "sampling", "softmax"]
