"""Which passes ran while the host was slower than it usually is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from latency_predictor.fitting.stack import Busy, PassRow

# Quartiles of a host-bound pass lie within a few per cent; other work on the host takes half of it or more.
_EDGE = 1.25
_HOST_BOUND = 1.5  # times what the kernels take: the device waits for the host


def disturbed(rows: Sequence[PassRow], work: Busy) -> NDArray[np.bool_]:
    """Passes whose host was over a quarter slower than at its best in this run.

    `collect` notes beside each pass what a fixed piece of the interpreter's work took (`host_s`): that
    decides where it is there. Without it, the passes of one model that wait for the host launch the same
    kernels, however many sequences there are, so that the least of them is what an undisturbed host takes;
    those far above it were measured beside something else. A pass that the device decides is never one.
    """
    waits = work.measured > _HOST_BOUND * work.seconds
    probes = np.array([row.host_s for row in rows])
    if len(rows) and (probes > 0).all():
        return np.asarray(waits & (probes > _EDGE * probes.min()))
    found = np.zeros(len(rows), dtype=bool)
    names = np.array([row.model for row in rows])
    for name in set(names):
        mine = waits & (names == name)
        if mine.any():
            floor = np.maximum(work.measured[mine].min(), work.seconds[mine])
            found[mine] = work.measured[mine] > _EDGE * floor
    return found
