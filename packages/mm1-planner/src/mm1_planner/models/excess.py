"""E(S - t)^+ of each law: what is left of a service beyond a time."""

from __future__ import annotations

import math

import numpy as np

from mm1_planner.service import Constant, Empirical, Exponential, Gamma, Lognormal, Service


def excess(law: Service, times_s: np.ndarray) -> np.ndarray:
    """E(S - t)^+ for times t >= 0, float64 seconds, the shape of `times_s`; E S at 0.

    Raises
    ------
    NotImplementedError
        For a law of another class.
    """
    mean = law.mean_s
    if isinstance(law, Constant):
        return np.asarray(np.maximum(mean - times_s, 0.0))
    if isinstance(law, Exponential):
        return np.asarray(mean * np.exp(-times_s / mean))
    if isinstance(law, Gamma):
        from scipy.special import gammaincc

        shape, x = 1 / law.scv, times_s / (mean * law.scv)
        return np.asarray(mean * gammaincc(shape + 1, x) - times_s * gammaincc(shape, x))
    if isinstance(law, Lognormal):
        from scipy.special import ndtr

        sigma = math.sqrt(math.log1p(law.scv))
        with np.errstate(divide="ignore"):
            z = np.log(times_s / mean) / sigma + sigma / 2
        return np.asarray(mean * ndtr(sigma - z) - times_s * ndtr(-z))
    if isinstance(law, Empirical):
        ordered = np.sort(law.times_s)
        above = np.append(np.cumsum(ordered[::-1])[::-1], 0.0)
        place = np.searchsorted(ordered, times_s, side="right")
        return np.asarray((above[place] - times_s * (ordered.size - place)) / ordered.size)
    raise NotImplementedError(f"no excess for {type(law).__name__}")


def on_lattice(law: Service, step_s: float, count: int) -> np.ndarray:
    """Probabilities of 0, h, 2h, ... that keep the mean: each time is shared by its two neighbours."""
    left = excess(law, np.arange(count + 1) * step_s)
    inner = (left[:-2] - 2 * left[1:-1] + left[2:]) / step_s
    return np.asarray(np.maximum(np.concatenate([[1 - (left[0] - left[1]) / step_s], inner]), 0.0))


def scaled(law: Service, factor: float) -> Service:
    """The law of the time times a factor."""
    if isinstance(law, Empirical):
        return Empirical(law.times_s * factor, law.name)
    if isinstance(law, Constant | Exponential):
        return type(law)(law.mean_s * factor)
    if isinstance(law, Gamma | Lognormal):
        return type(law)(law.mean_s * factor, law.cv)
    raise NotImplementedError(f"no scale for {type(law).__name__}")
