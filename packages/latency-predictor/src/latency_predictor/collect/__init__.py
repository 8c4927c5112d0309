"""Measure a machine: operators in isolation and whole passes of models with random weights.

Needs torch, and transformers for the eager stack (extra `[collect]`); importing this package loads neither.
"""

from latency_predictor.collect.run import collect

__all__ = ["collect"]
