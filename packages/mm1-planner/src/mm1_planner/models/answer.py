"""What every model answers: means and percentiles of the wait and of the sojourn."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

LEVELS: dict[str, float] = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
"""Percentiles that every answer carries; `p999` is the 99.9th."""

METRICS: tuple[str, ...] = (
    "mean_in_system",
    "mean_in_queue",
    "mean_wait_s",
    "mean_sojourn_s",
    *(f"{level}_{what}_s" for what in ("wait", "sojourn") for level in LEVELS),
)
"""Names that a formula and a simulation both answer."""


@dataclass(frozen=True)
class Answer:
    """Steady state of a queue. Times in seconds; infinite where the queue grows without end.

    Attributes
    ----------
    model : str
        Kendall's name, such as `M/M/c`.
    method : str
        `exact`, or what was approximated.
    stable : bool
        Whether a steady state exists; where not, every mean and percentile is infinite.
    utilization : float
        Busy share of each server; for an unstable queue the offered load per server, which is >= 1.
    wait_probability : float
        Share of the accepted customers that wait at all: one minus the atom of the wait at zero.
    blocking : float
        Share of the customers turned away by a finite capacity.
    """

    model: str
    method: str
    stable: bool
    utilization: float
    wait_probability: float
    blocking: float
    mean_in_system: float
    mean_in_queue: float
    mean_wait_s: float
    mean_sojourn_s: float
    p50_wait_s: float
    p90_wait_s: float
    p95_wait_s: float
    p99_wait_s: float
    p999_wait_s: float
    p50_sojourn_s: float
    p90_sojourn_s: float
    p95_sojourn_s: float
    p99_sojourn_s: float
    p999_sojourn_s: float

    def to_dict(self) -> dict[str, object]:
        """Plain data with the same names."""
        return asdict(self)


def steady(
    model: str,
    *,
    method: str,
    utilization: float,
    wait_probability: float,
    mean_in_system: float,
    mean_in_queue: float,
    mean_wait_s: float,
    mean_sojourn_s: float,
    wait_percentile: Callable[[float], float],
    sojourn_percentile: Callable[[float], float],
    blocking: float = 0.0,
) -> Answer:
    """An answer with the percentiles of `LEVELS` filled in."""
    percentiles = {f"{name}_wait_s": wait_percentile(level) for name, level in LEVELS.items()}
    percentiles |= {f"{name}_sojourn_s": sojourn_percentile(level) for name, level in LEVELS.items()}
    return Answer(
        model=model,
        method=method,
        stable=True,
        utilization=utilization,
        wait_probability=wait_probability,
        blocking=blocking,
        mean_in_system=mean_in_system,
        mean_in_queue=mean_in_queue,
        mean_wait_s=mean_wait_s,
        mean_sojourn_s=mean_sojourn_s,
        **percentiles,
    )


def unstable(model: str, load: float) -> Answer:
    """The answer of a queue whose work arrives at least as fast as it can be done."""
    endless = dict.fromkeys(METRICS, math.inf)
    return Answer(
        model=model,
        method="exact",
        stable=False,
        utilization=load,
        wait_probability=1.0,
        blocking=0.0,
        **endless,
    )
