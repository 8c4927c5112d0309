"""The same simulation several times with streams of their own, on any number of workers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mm1_planner.inputs import whole
from mm1_planner.simulation import Simulation, simulate


def replicate(*, replications: int = 8, workers: int = 1, **arguments: Any) -> list[Simulation]:
    """`simulate` with replication 0, 1, ..., the same results for any number of workers.

    Threads suffice: the compiled engine and the random generators run without the interpreter's lock.

    Parameters
    ----------
    replications, workers : int
        Runs, and how many at a time.
    **arguments
        As for `simulate`, but for `replication`.

    Raises
    ------
    BadInput
        As for `simulate`.

    Examples
    --------
    >>> one, two = replicate(replications=2, arrival_rate_per_s=1, service=0.5, customers=2000)
    >>> one.estimates["mean_wait_s"].value == two.estimates["mean_wait_s"].value
    False
    """
    numbers = range(whole("replications", replications, largest=1_000_000))
    with ThreadPoolExecutor(whole("workers", workers, largest=1024)) as pool:
        runs = [pool.submit(simulate, replication=number, **arguments) for number in numbers]
        return [run.result() for run in runs]
