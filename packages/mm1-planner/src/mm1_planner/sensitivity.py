"""What happens to a plan when its inputs are wrong: more traffic, slower service."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

from mm1_planner.models.choice import answer_of
from mm1_planner.search import fewest
from mm1_planner.sizing import Question, binding
from mm1_planner.workload import Workload

_FACTORS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0)
_NEEDED = (0.5, 0.7, 1.0, 1.2, 1.5, 2.0)
_STEPS = 7
_WIDEST = 2.0
# Runs this long take a tenth of a second each; the curve is to be read, the plan was decided on longer ones.
_REQUESTS = 100_000


@dataclass(frozen=True)
class Course:
    """The promise closest to its limit when an input is `factor` times what was given.

    Attributes
    ----------
    factor : float
        Of the rate, or of the service time.
    of_limit : float
        The largest metric over its limit: below 1 every promise holds; infinite without a steady state.
    metric : str
        Which metric that is.
    """

    factor: float
    of_limit: float
    metric: str


@dataclass(frozen=True)
class Needed:
    """The fewest servers by formula at `factor` times the rate; None beyond the most allowed."""

    factor: float
    servers: int | None


@dataclass(frozen=True)
class Sensitivity:
    """How far a plan holds.

    Attributes
    ----------
    rate, service : tuple of Course
        At the servers planned, by simulation on the same draws.
    needed : tuple of Needed
        Servers by rate, by the formula; empty where that has none or takes a while.
    headroom : float
        The largest factor of the rate, up to 2, at which the servers planned still keep every promise,
        within 1 %.
    """

    rate: tuple[Course, ...]
    service: tuple[Course, ...]
    needed: tuple[Needed, ...]
    headroom: float

    def to_dict(self) -> dict[str, object]:
        """Plain data with the same names."""
        return asdict(self)


def sensitivity(question: Question, workload: Workload, servers: int) -> Sensitivity:
    """Try the servers planned on faster arrivals and slower service, on the same draws."""
    short = _shortened(workload)
    return Sensitivity(
        rate=tuple(_course(question, short.faster(factor), servers, factor) for factor in _FACTORS),
        service=tuple(
            _course(question, short.slower_service(factor), servers, factor) for factor in _FACTORS
        ),
        needed=()
        if question.limits or not question.quick
        else tuple(_needed(question, factor) for factor in _NEEDED),
        headroom=_headroom(question, short, servers),
    )


def _shortened(workload: Workload) -> Workload:
    """The first part of a drawn run; a replay stays whole, its requests are what was recorded."""
    if not workload.endless or workload.gaps_s.size <= _REQUESTS:
        return workload
    return replace(
        workload,
        gaps_s=workload.gaps_s[:_REQUESTS],
        services_s=workload.services_s[:_REQUESTS],
        warmup=_REQUESTS // 21,
        tried={},
        counted={},
    )


def _course(question: Question, workload: Workload, servers: int, factor: float) -> Course:
    if servers < workload.fewest_servers:
        return Course(factor, math.inf, question.slos[0].metric)
    worst = binding(question.slos, workload, servers)
    return Course(factor, workload.estimate(servers, worst).value / worst.limit_s, worst.metric)


def _needed(question: Question, factor: float) -> Needed:
    rate = question.rate_per_s * factor
    low = max(math.floor(rate * question.law.mean_s) + 1, question.least)

    def keeps(servers: int) -> bool:
        answer = answer_of(rate, question.law, servers)
        return all(getattr(answer, slo.metric) < slo.limit_s for slo in question.slos)

    found = fewest(keeps, low=low, guess=low + math.isqrt(low), most=max(question.most, low))
    return Needed(factor, found if found is not None and found <= question.most else None)


def _headroom(question: Question, workload: Workload, servers: int) -> float:
    def keeps(factor: float) -> bool:
        faster = workload.faster(factor)
        return servers >= faster.fewest_servers and faster.keeps(servers, question.slos)

    if keeps(_WIDEST):
        return _WIDEST
    low, high = (1.0, _WIDEST) if keeps(1.0) else (0.0, 1.0)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if keeps(middle) else (low, middle)
    return low
