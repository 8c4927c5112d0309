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
    """Passes whose host was over a quarter slower than at its best in this run, which a fit leaves out.

    Where `collect` noted the host's speed beside each pass there are none: a fit takes it into account.
    Without it, the passes of one model that wait for the host issue the same operators, however many
    sequences there are, so that the least of them is what an undisturbed host takes; those far above it were
    measured beside something else. A pass that the device decides is never one.
    """
    found = np.zeros(len(rows), dtype=bool)
    if (work.host_s > 0).all():
        return found
    waits = work.measured > _HOST_BOUND * work.seconds
    names = np.array([row.model for row in rows])
    for name in set(names):
        mine = waits & (names == name)
        if mine.any():
            floor = np.maximum(work.measured[mine].min(), work.seconds[mine])
            found[mine] = work.measured[mine] > _EDGE * floor
    return found
