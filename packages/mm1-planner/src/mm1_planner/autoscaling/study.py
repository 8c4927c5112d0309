"""One traffic under a fixed number of replicas, under an autoscaler, and with a schedule before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mfi_command import BadInput
from mm1_planner.autoscaling.laws import Behavior, Scaler
from mm1_planner.autoscaling.schedule import fixing_schedule, rates_of
from mm1_planner.autoscaling.simulation import Autoscaled, Floor
from mm1_planner.autoscaling.traffic import BatchingTraffic, PlainTraffic, Traffic
from mm1_planner.inputs import positive
from mm1_planner.llm.iteration import Replica
from mm1_planner.llm.planning import OUTPUTS, PROMPTS, draw_tokens
from mm1_planner.llm.slo import LlmSlo, parse_llm_slo
from mm1_planner.profiles import Profile, parse_profile
from mm1_planner.replicas import is_replica, parse_replica
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
        Means of the traffic; a request alone, of replicas that batch.
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
    slo: Slo | LlmSlo | str,
    profile: Profile | str | Path | None = None,
    trace: Trace | str | Path | None = None,
    arrivals: str = "poisson",
    time_column: str | None = None,
    slots: int = 1,
    prompt_tokens: str | float | None = None,
    output_tokens: str | float | None = None,
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
        As for `plan`: a law, over a trace an expression of its columns, or `llm:alpha=12ms,...`, replicas
        that batch.
    slo : Slo, LlmSlo or str
        A percentile of wait or sojourn; of replicas that batch, of ttft, tpot or e2e.
    profile, trace
        One of the two: a rate over time, or recorded arrivals.
    arrivals : str
        How they come around the profile, as for `parse_arrivals`.
    slots : int
        Requests that a plain replica serves at a time.
    prompt_tokens, output_tokens : str or float, optional
        Laws of the lengths around a profile, for replicas that batch; a trace has its own.
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
    course = None if profile is None else parse_profile(profile)
    if course is None:
        assert trace is not None
        recorded = trace if isinstance(trace, Trace) else read_trace(trace, time_column=time_column)
        again = recorded
    else:
        recorded = course.draw(arrivals=arrivals, seed=seed)
        again = course.draw(arrivals=arrivals, seed=seed, replication=_OTHER_DRAW)
    if isinstance(service, str) and is_replica(service):
        if slots != 1:
            raise BadInput("slots are of plain servers; a replica that batches has max_batch")
        promise = parse_llm_slo(slo)  # type: ignore[arg-type]
        goal: Slo | LlmSlo = promise
        lengths = (prompt_tokens, output_tokens)
        fitted, tried = _batching(recorded, again, lengths, parse_replica(service), promise, course, seed)
    else:
        if prompt_tokens is not None or output_tokens is not None:
            raise BadInput("prompt and output tokens go with a service llm:alpha=..., which batches")
        plain = parse_slo(slo)  # type: ignore[arg-type]
        goal = plain
        fitted, tried = _plain(recorded, again, service, plain, course, slots, seed)
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
    initial = min(max(scaler.least, fitted.needed(rates[0], scaler.most)), scaler.most)
    schedule, _ = fixing_schedule(
        fitted, scaler, rates_per_s=rates, window_s=window, initial=initial, on_progress=on_progress
    )
    count, fixed = _fixed(tried, scaler, again.rate_per_s)
    return AutoscalingStudy(
        slo=str(goal),
        arrival_rate_per_s=again.rate_per_s,
        mean_service_s=tried.mean_service_s,
        scaler=scaler,
        fixed_replicas=count,
        fixed=fixed,
        reactive=tried.run(scaler, initial=initial),
        scheduled=tried.run(scaler, schedule=schedule, initial=initial),
        schedule=schedule,
        foreseen=course is not None,
    )


def _plain(
    recorded: Trace, again: Trace, service: Service | str | float, slo: Slo, course: Profile | None,
    slots: int, seed: int,
) -> tuple[Traffic, Traffic]:  # fmt: skip
    """The traffic that the schedule is fitted on, and the one that it is tried on."""
    if course is None:
        law, services = service_of_trace(service, recorded, seed=seed)
        same = PlainTraffic(recorded.arrivals_s, services, law, slo, slots)
        return same, same
    law = law_without_trace(service)
    first, second = (
        PlainTraffic(one.arrivals_s, service_of_trace(law, one, seed=draw)[1], law, slo, slots)
        for one, draw in ((recorded, seed), (again, seed + 1))
    )
    return first, second


def _batching(
    recorded: Trace, again: Trace, lengths: tuple[str | float | None, str | float | None], replica: Replica,
    slo: LlmSlo, course: Profile | None, seed: int,
) -> tuple[Traffic, Traffic]:  # fmt: skip
    """Likewise of requests with lengths: of the trace, or drawn."""
    if course is None:
        if lengths != (None, None):
            raise BadInput("a trace has its own lengths: leave prompt and output tokens away")
        same = BatchingTraffic(recorded.arrivals_s, *recorded.lengths(), replica, slo, seed)
        return same, same
    prompt, output = lengths
    if prompt is None or output is None:
        raise BadInput("no lengths: give prompt and output tokens, such as geometric:500 and geometric:150")
    first, second = (
        BatchingTraffic(
            one.arrivals_s,
            draw_tokens(prompt, one.arrivals_s.size, seed=draw, purpose=PROMPTS),
            draw_tokens(output, one.arrivals_s.size, seed=draw, purpose=OUTPUTS),
            replica,
            slo,
            seed,
        )
        for one, draw in ((recorded, seed), (again, seed + 1))
    )
    return first, second


def _fixed(traffic: Traffic, scaler: Scaler, rate_per_s: float) -> tuple[int | None, Autoscaled | None]:
    """The fewest replicas that keep the promise without scaling, and how they do."""
    still = Behavior(select="disabled")
    runs: dict[int, Autoscaled] = {}

    def held(count: int) -> bool:
        one = Scaler(scaler.metric, scaler.target, least=count, most=count, up=still, down=still)
        runs[count] = traffic.run(one, initial=count)
        return runs[count].held

    guess = max(1, traffic.needed(rate_per_s, scaler.most))
    found = fewest(held, low=1, guess=guess, most=scaler.most)
    return found, None if found is None else runs[found]


def _told(run: Autoscaled) -> str:
    kept = "keeps" if run.held else "misses"
    return (
        f"{kept} {run.slo} ({run.attainment:.2%} of the requests in time) on {run.replica_hours:.4g} "
        f"replica-hours, at most {run.peak} replicas, turning back {run.reversals} times"
    )
