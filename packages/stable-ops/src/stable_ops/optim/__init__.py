"""Gradient descent with its usual states, Newton's method with safeguards, weights that cannot move."""

from stable_ops.optim.adam import Adam, AdamW
from stable_ops.optim.newton import NewtonResult, newton_search
from stable_ops.optim.sgd import SGD
from stable_ops.optim.stuck import Stagnation, StuckTensor, stagnation

__all__ = ["SGD", "Adam", "AdamW", "NewtonResult", "Stagnation", "StuckTensor", "newton_search", "stagnation"]
