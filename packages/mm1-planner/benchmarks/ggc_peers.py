"""What textbooks say of GI/G/c from two moments: Allen and Cunneen, Kraemer and Langenbach-Belz, Whitt.

Each is a factor of the mean wait of M/M/c; for the p99 those who wait are taken to do so for an exponential
time, as many of them as in M/M/c.
"""

from __future__ import annotations

import math

from mm1_planner import MMc


def allen_cunneen(load: float, servers: int, arrival_scv: float, service_scv: float) -> float:
    """Allen, Probability, Statistics and Queueing Theory (1990), section 5.3."""
    return (arrival_scv + service_scv) / 2


def langenbach_belz(load: float, servers: int, arrival_scv: float, service_scv: float) -> float:
    """Kraemer and Langenbach-Belz (1976), with several servers as Bolch et al., section 6.14."""
    both = arrival_scv + service_scv
    if arrival_scv <= 1:
        power = -2 * (1 - load) * (1 - arrival_scv) ** 2 / (3 * load * both) if both else -math.inf
    else:
        power = -(1 - load) * (arrival_scv - 1) / (arrival_scv + 4 * service_scv)
    return both / 2 * math.exp(power)


def whitt(load: float, servers: int, arrival_scv: float, service_scv: float) -> float:
    """Approximations for the GI/G/m queue (1993), equations 2.16 to 2.25."""
    both = (arrival_scv + service_scv) / 2
    slack = (1 - load) * (servers - 1) * (math.sqrt(4 + 5 * servers) - 2) / (16 * servers * load)
    gamma = min(0.24, slack)
    first, second = 1 + gamma, 1 - 4 * gamma
    third = second * math.exp(-2 * (1 - load) / (3 * load))
    psi = 1.0 if both >= 1 else min(1.0, (first + third) / 2) ** (2 * (1 - both))
    if arrival_scv >= service_scv:
        under = 4 * arrival_scv - 3 * service_scv
        factor = 4 * (arrival_scv - service_scv) / under * first + service_scv / under * psi
    else:
        under = 4 * both
        factor = (service_scv - arrival_scv) / under * third + (service_scv + 3 * arrival_scv) / under * psi
    return both * factor


PEERS = {"Allen-Cunneen": allen_cunneen, "Kraemer-Langenbach-Belz": langenbach_belz, "Whitt": whitt}


def mean_and_p99(
    name: str, load: float, servers: int, arrival_scv: float, service_scv: float
) -> tuple[float, float]:
    """Mean and p99 of the wait in mean services."""
    exponential = MMc(load * servers, 1.0, servers).answer()
    mean = PEERS[name](load, servers, arrival_scv, service_scv) * exponential.mean_wait_s
    waits = exponential.wait_probability
    return mean, (mean / waits * math.log(waits / 0.01) if waits > 0.01 else 0.0)
