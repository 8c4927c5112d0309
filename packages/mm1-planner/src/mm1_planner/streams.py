"""Random streams that depend on what they are for, not on who draws first."""

from __future__ import annotations

import numpy as np

from mm1_planner.inputs import whole

ARRIVALS, SERVICES, PATIENCE, CLASSES = 0, 1, 2, 3
"""Purposes with streams of their own: changing the service law leaves the arrivals as they were."""

_WORD = 1 << 32


def stream(seed: int, scenario: int, replication: int, purpose: int) -> np.random.Generator:
    """The Philox generator of one purpose in one replication of one scenario.

    Philox is counter-based: the key is (seed, scenario and replication), the top word of the counter the
    purpose. The same four numbers give the same draws in any process and any order.

    Raises
    ------
    BadInput
        If a number is negative or too large (seed 2^63, others 2^32).
    """
    seed = whole("seed", seed, least=0, largest=2**63 - 1)
    scenario = whole("scenario", scenario, least=0, largest=_WORD - 1)
    replication = whole("replication", replication, least=0, largest=_WORD - 1)
    key = np.array([seed, scenario * _WORD + replication], dtype=np.uint64)
    counter = np.array([0, 0, 0, purpose], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
