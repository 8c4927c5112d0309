"""Quasi-birth-death processes: the matrices R and G by logarithmic reduction."""

from __future__ import annotations

import numpy as np

_MOST_STEPS = 64


def first_passage(up: np.ndarray, local: np.ndarray, down: np.ndarray) -> np.ndarray:
    r"""G: phases in which the next lower level is entered, float64 (n, n); $A_- + A_0 G + A_+ G^2 = 0$.

    Logarithmic reduction: each step doubles the height of the excursions that are counted, so a load of
    $1-\epsilon$ takes about $\log_2 1/\epsilon$ of them; cost O(n^3) each. All terms are positive.

    Parameters
    ----------
    up, local, down : ndarray
        Rates to the next higher level, within a level (generator, negative diagonal), and to the lower one.

    Notes
    -----
    Latouche and Ramaswami, A logarithmic reduction algorithm for quasi-birth-death processes (1993).
    """
    eye = np.eye(len(local))
    higher, lower = np.linalg.solve(-local, up), np.linalg.solve(-local, down)
    found, reach = lower.copy(), higher.copy()
    for _ in range(_MOST_STEPS):
        back = eye - (higher @ lower + lower @ higher)
        higher, lower = np.linalg.solve(back, higher @ higher), np.linalg.solve(back, lower @ lower)
        step = reach @ lower
        found += step
        reach = reach @ higher
        if step.max() < 1e-17:
            break
    # A stable process comes down for certain: what rounding took from the rows is given back.
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def visits(up: np.ndarray, local: np.ndarray, passage: np.ndarray) -> np.ndarray:
    r"""$N=(-A_0-A_+G)^{-1}$: time in each phase of a level before a lower one is entered; $R=A_+N$."""
    return np.asarray(np.linalg.inv(-local - up @ passage))


def stationary(generator: np.ndarray) -> np.ndarray:
    """The law that a generator keeps, float64 (n,), by elimination without subtractions (GTH)."""
    rates = generator.copy()
    size = len(rates)
    for last in range(size - 1, 0, -1):
        rates[:last, last] /= rates[last, :last].sum()
        rates[:last, :last] += np.outer(rates[:last, last], rates[last, :last])
    law = np.ones(size)
    for state in range(1, size):
        law[state] = law[:state] @ rates[:state, state]
    return np.asarray(law / law.sum())
