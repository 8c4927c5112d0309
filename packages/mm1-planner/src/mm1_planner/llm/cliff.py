"""The rate at which a promise is missed tenfold, by the closed form and by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from mm1_planner.llm.closed_form import llm_answer
from mm1_planner.llm.iteration import Replica
from mm1_planner.llm.slo import LlmSlo

TENFOLD = 10.0
_HALVINGS = 16
_MOST = 8.0
_AROUND = 0.94, 1.06
_WITHIN = 1.02


def closed_form_cliff_per_s(
    promise: LlmSlo, prompts: np.ndarray, outputs: np.ndarray, replica: Replica
) -> float | None:
    """Arrivals per second at one replica; None of a promise on ITL or TPOT, which a full batch bounds.

    Far past its target a time is all wait, and a wait in heavy traffic is exponential: its level q is
    -ln(1 - q) times its mean.
    """
    if promise.what not in ("ttft", "e2e"):
        return None
    over_mean = 1.0 if promise.level is None else -math.log(1 - promise.level)
    worst = TENFOLD * promise.limit_s / over_mean
    low, high = 0.0, llm_answer(1e-9, prompts, outputs, replica).capacity_per_s
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        mean = getattr(llm_answer(middle, prompts, outputs, replica), f"mean_{promise.what}_s")
        low, high = (low, middle) if mean >= worst else (middle, high)
    return low


def simulated_cliff(missed: Callable[[float], bool], guess: float | None) -> float | None:
    """How many times the traffic is missed tenfold, within 2 %; None beyond eight times.

    Parameters
    ----------
    missed : callable
        Whether so many times the traffic misses the promise tenfold.
    guess : float or None
        Where the closed form sees it.
    """
    low, high, stride = 1.0, 2.0, 1.0
    if guess is not None and 1 < _AROUND[1] * guess < _MOST:
        high = _AROUND[1] * guess
        near = _AROUND[0] * guess
        if near > 1 and not missed(near):
            low, stride = near, _AROUND[1] - 1
        elif near > 1:
            high = near
    while not missed(high):
        stride *= 2
        low, high = high, (1 + min(stride, 1.0)) * high
        if high > _MOST:
            return None
    while high > _WITHIN * low:
        middle = (low + high) / 2
        low, high = (low, middle) if missed(middle) else (middle, high)
    return high
