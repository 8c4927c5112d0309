"""How far a queue with several servers is from light to heavy traffic, measured where both are exact."""

from __future__ import annotations

from mm1_planner.models.mdc import MDc
from mm1_planner.models.mmc import MMc

_FULL = 0.9999


def heavy_share(load: float, servers: int) -> float:
    r"""Where M/D/c stands between light traffic (0) and heavy traffic (1), by its mean wait over M/M/c's.

    In light traffic that ratio is $c/(c+1)$, the chance that of c+1 uniform residual lives the arrival's is
    not the shortest; in heavy traffic it is 1/2. Other laws are taken to be as far on their own way. 1 for
    one server, where both limits are one.
    """
    if servers < 2 or load >= _FULL:
        return 1.0
    light, heavy = servers / (servers + 1), 0.5
    constant = MDc(load * servers, 1.0, servers).answer().mean_wait_s
    exponential = MMc(load * servers, 1.0, servers).answer().mean_wait_s
    if exponential == 0:
        return 0.0
    return min(max((constant / exponential - light) / (heavy - light), 0.0), 1.0)
