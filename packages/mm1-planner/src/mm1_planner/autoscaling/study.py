"""One traffic under a fixed number of replicas, under an autoscaler, and with a schedule before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mfi_command import BadInput
from mm1_planner.autoscaling.laws import Behavior, Scaler
from mm1_planner.autoscaling.schedule import fixing_schedule, rates_of, servers_for
from mm1_planner.autoscaling.simulation import Autoscaled, Floor, autoscale
from mm1_planner.inputs import positive
from mm1_planner.profiles import Profile, parse_profile
from mm1_planner.search import fewest
from mm1_planner.service import Service
from mm1_planner.slo import Slo, parse_slo
from mm1_planner.trace import Trace, read_trace
from mm1_planner.workload import law_without_trace, service_of_trace

_WINDOWS = 48
_OTHER_DRAW = 1


@dataclass(frozen=True)
class AutoscalingStudy:
    """Three ways to run the same traffic.

    Attributes
    ----------
    slo : str
        The promise.
    arrival_rate_per_s, mean_service_s : float
        Means of the traffic.
    scaler : Scaler
        The law.
    fixed_replicas : int or None
        The fewest that keep the promise without any scaling; None up to the scaler's most.
    fixed, reactive, scheduled : Autoscaled or None
        The traffic under each: fixed, the scaler alone, the scaler with the schedule.
    schedule : tuple of Floor
        The pre-scaling schedule: least replicas by time.
    foreseen : bool
        Whether the schedule was made from a profile and tried on other draws of it; else it was made from
        the very trace that it is tried on, which is hindsight.
    """

    slo: str
    arrival_rate_per_s: float
    mean_service_s: float
    scaler: Scaler
    fixed_replicas: int | None
    fixed: Autoscaled | None
    reactive: Autoscaled
    scheduled: Autoscaled
    schedule: tuple[Floor, ...]
    foreseen: bool

    @property
    def verdict(self) -> str:
        """All of it in a few sentences."""
        parts = [f"the scaler alone {_told(self.reactive)}"]
        if self.reactive.held:
            parts.append("no schedule is needed")
        elif self.scheduled.held:
            parts.append(f"with the schedule of {len(self.schedule)} entries it {_told(self.scheduled)}")
        else:
            parts.append(f"no schedule fixes it: the best {_told(self.scheduled)}")
        if self.fixed is not None:
            parts.append(
                f"{self.fixed_replicas} fixed replicas: {self.fixed.replica_hours:.4g} replica-hours"
            )
        if not self.foreseen:
            parts.append("the schedule knows the trace that it is tried on: another day may differ")
        return "; ".join(parts)

    def to_dict(self) -> dict[str, object]:
        """Plain data with the same names."""
        runs = {name: getattr(self, name) for name in ("fixed", "reactive", "scheduled")}
        return {
            "slo": self.slo,
            "arrival_rate_per_s": self.arrival_rate_per_s,
            "mean_service_s": self.mean_service_s,
            "scaler": asdict(self.scaler),
            "fixed_replicas": self.fixed_replicas,
            **{name: run.to_dict() if run is not None else None for name, run in runs.items()},
            "schedule": [vars(entry) for entry in self.schedule],
            "foreseen": self.foreseen,
            "verdict": self.verdict,
        }


def study_autoscaling(
    *,
    scaler: Scaler,
    service: Service | str | float,
    slo: Slo | str,
    profile: Profile | str | Path | None = None,
    trace: Trace | str | Path | None = None,
    arrivals: str = "poisson",
    time_column: str | None = None,
    slots: int = 1,
    window_s: float | None = None,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> AutoscalingStudy:
    """Simulate traffic under fixed replicas, under the scaler, and under the scaler with a schedule.

    Parameters
    ----------
    scaler : Scaler
        The law, its start-up delay, its bounds.
    service : Service, str or float
        As for `plan`: a law, or over a trace an expression of its columns.
    slo : Slo or str
        A percentile of wait or sojourn.
    profile, trace
        One of the two: a rate over time, or recorded arrivals.
    arrivals : str
        How they come around the profile, as for `parse_arrivals`.
    slots : int
        Requests that a replica serves at a time.
    window_s : float, optional
        Length of the schedule's entries; a 48th of the time by default.
    seed : int
        Of the draws. A schedule from a profile is tried on another draw than the one that it was fitted on.

    Raises
    ------
    BadInput
        If an input is out of range or not understood.

    Notes
    -----
    All begin with the replicas that the first window needs.
    """
    if (profile is None) == (trace is None):
        raise BadInput("expected a profile or a trace, one of the two")
    goal = parse_slo(slo)
    law: Service
    if trace is not None:
        recorded = trace if isinstance(trace, Trace) else read_trace(trace, time_column=time_column)
        law, services = service_of_trace(service, recorded, seed=seed)
        again, services_again, course = recorded, services, None
    else:
        assert profile is not None
        course = parse_profile(profile)
        law = law_without_trace(service)
        recorded = course.draw(arrivals=arrivals, seed=seed)
        again = course.draw(arrivals=arrivals, seed=seed, replication=_OTHER_DRAW)
        services = service_of_trace(law, recorded, seed=seed)[1]
        services_again = service_of_trace(law, again, seed=seed + 1)[1]
    window = positive("window", window_s if window_s is not None else recorded.duration_s / _WINDOWS)
    rates = (
        rates_of(recorded.arrivals_s, window)
        if course is None
        else [
            float(course.rate_at(np.linspace(start, start + window, 9)).max())
            for start in np.arange(0.0, course.duration_s, window)
        ]
    )
    # Traffic was there before the first window: a cold start would be charged to the law.
    initial = min(max(scaler.least, servers_for(rates[0], law, goal, scaler.most)), scaler.most)
    schedule, _ = fixing_schedule(
        recorded.arrivals_s, services, law, scaler, goal,
        rates_per_s=rates, window_s=window, slots=slots, initial=initial, on_progress=on_progress,
    )  # fmt: skip
    tried = (again.arrivals_s, services_again)
    count, fixed = _fixed(*tried, scaler, goal, slots)
    return AutoscalingStudy(
        slo=str(goal),
        arrival_rate_per_s=again.rate_per_s,
        mean_service_s=law.mean_s,
        scaler=scaler,
        fixed_replicas=count,
        fixed=fixed,
        reactive=autoscale(*tried, scaler, goal, initial=initial, slots=slots),
        scheduled=autoscale(*tried, scaler, goal, schedule=schedule, initial=initial, slots=slots),
        schedule=schedule,
        foreseen=course is not None,
    )


def _fixed(
    arrivals_s: np.ndarray, services_s: np.ndarray, scaler: Scaler, slo: Slo, slots: int
) -> tuple[int | None, Autoscaled | None]:
    """The fewest replicas that keep the promise without scaling, and how they do."""
    still = Behavior(select="disabled")
    runs: dict[int, Autoscaled] = {}

    def held(count: int) -> bool:
        one = Scaler(scaler.metric, scaler.target, least=count, most=count, up=still, down=still)
        runs[count] = autoscale(arrivals_s, services_s, one, slo, initial=count, slots=slots)
        return runs[count].held

    busy = float(services_s.sum()) / float(arrivals_s[-1]) / slots
    found = fewest(held, low=1, guess=max(1, round(busy) + 1), most=scaler.most)
    return found, None if found is None else runs[found]


def _told(run: Autoscaled) -> str:
    kept = "keeps" if run.held else "misses"
    return (
        f"{kept} {run.slo} ({run.attainment:.2%} of the requests in time) on {run.replica_hours:.4g} "
        f"replica-hours, at most {run.peak} replicas, turning back {run.reversals} times"
    )
