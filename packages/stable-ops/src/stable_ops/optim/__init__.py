"""Gradient descent with its usual states, and Newton's method with safeguards."""

from stable_ops.optim.adam import Adam, AdamW
from stable_ops.optim.newton import NewtonResult, newton_search
from stable_ops.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "NewtonResult", "newton_search"]
