"""The fewest servers that keep a promise, or why none do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypedDict

from mfi_command import BadInput
from mm1_planner.dispersion import Burstiness, burstiness
from mm1_planner.inputs import not_negative, positive, whole
from mm1_planner.models.answer import Answer
from mm1_planner.service import Service
from mm1_planner.simulation import FEWEST, MOST, Simulation
from mm1_planner.sizing import Found, Question, impossible, not_found, search, search_formula, search_poisson
from mm1_planner.slo import Slo, parse_slo
from mm1_planner.trace import Trace, read_trace
from mm1_planner.workload import Workload, law_without_trace, replayed, service_of_trace

_HOURS_PER_MONTH = 730.0


class _Asked(TypedDict):
    """The fields of a plan that repeat the question."""

    slo: str
    metric: str
    limit_s: float
    arrival_rate_per_s: float
    service: str
    mean_service_s: float
    service_scv: float
    offered_load: float


@dataclass(frozen=True)
class Point:
    """The promised metric at one number of servers, by formula and by simulation; seconds."""

    servers: int
    analytic_s: float
    simulated_s: float
    low_s: float
    high_s: float


@dataclass(frozen=True)
class Plan:
    """How many servers, and the evidence.

    Attributes
    ----------
    feasible : bool
        Whether some number of servers up to `max_servers` keeps the promise.
    reason : str or None
        Why none does.
    servers : int or None
        The fewest that do, in simulation.
    slo, metric, limit_s
        The promise; its metric is a name of `METRICS`.
    arrival_rate_per_s, service, mean_service_s, service_scv
        The traffic: rate, name, mean and squared coefficient of variation of the service.
    offered_load : float
        Rate times mean service time: servers busy on average.
    basis : str
        What decided: `poisson` or `replay`, a simulation; or `formula`, exact where simulation cannot tell.
    analytic : Answer or None
        The formula's answer for Poisson arrivals at `servers`.
    analytic_servers, poisson_servers, replay_servers : int or None
        The fewest by formula, by simulation of Poisson arrivals, and by replaying the trace.
    simulated, fewer : Simulation or None
        The deciding simulation at `servers`, which keeps the promise, and at one server less, which does not
        (None where that has no steady state, or is zero servers).
    settled : bool
        Whether both intervals are known to leave the limit out.
    verdict : str
        All of it in a few sentences.
    burstiness : Burstiness or None
        Of the trace.
    cost : dict or None
        `per_server_hour`, `per_hour`, `per_month` (730 h), `per_million_requests`.
    curve : tuple of Point
        The metric around `servers`.
    """

    feasible: bool
    reason: str | None
    servers: int | None
    slo: str
    metric: str
    limit_s: float
    arrival_rate_per_s: float
    service: str
    mean_service_s: float
    service_scv: float
    offered_load: float
    basis: str
    analytic: Answer | None
    analytic_servers: int | None
    poisson_servers: int | None
    replay_servers: int | None
    simulated: Simulation | None
    fewer: Simulation | None
    settled: bool
    verdict: str
    burstiness: Burstiness | None
    cost: dict[str, float] | None
    curve: tuple[Point, ...]

    def to_dict(self) -> dict[str, object]:
        """Plain data with the same names."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        for name in ("analytic", "simulated", "fewer", "burstiness"):
            values[name] = values[name].to_dict() if values[name] is not None else None
        return values | {"curve": [vars(point) for point in self.curve]}


def plan(
    *,
    service: Service | str | float,
    slo: Slo | str,
    arrival_rate_per_s: float | None = None,
    trace: Trace | str | Path | None = None,
    time_column: str | None = None,
    max_servers: int = 10_000,
    customers: int | None = None,
    cost_per_server_hour: float | None = None,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Plan:
    """The fewest servers that keep a promise, for Poisson arrivals or for recorded ones.

    One server serves one request at a time; one queue, first come first served. For a rate, simulation of
    Poisson arrivals decides, on the same draws for each number of servers, and runs four times as long while
    the answer is too close to call (up to 2e6 requests); if it still is and the formula is exact, the
    formula decides. For a trace, the burstiness test decides whether Poisson arrivals may be trusted; where
    not, the trace is replayed. The formula stands beside the simulation in every case.

    Parameters
    ----------
    service : Service, str or float
        Seconds (mean of an exponential), a law (`exp:0.5`, `det:0.3`, `lognormal:MEAN:CV`,
        `gamma:MEAN:CV`), or an expression over the trace's columns (`0.05 + 0.02*GeneratedTokens`).
    slo : Slo or str
        Such as `p99_wait<0.5` or `p99.9_sojourn<2`.
    arrival_rate_per_s, trace
        One of the two. A trace is read by `read_trace`, its time column named by `time_column`.
    max_servers : int
        Where the search ends.
    customers : int, optional
        Length of the simulated Poisson runs; automatic by default.
    cost_per_server_hour : float, optional
        In any currency.
    seed : int
        Of every draw.
    on_progress : callable, optional
        Called with (stages done, stages in all).

    Raises
    ------
    BadInput
        If an input is out of range or not understood.

    Examples
    --------
    >>> plan(arrival_rate_per_s=10, service="exp:0.3", slo="p99_wait<0.5").servers
    5
    """
    tick = on_progress or (lambda done, total: None)
    price = None if cost_per_server_hour is None else not_negative("cost", cost_per_server_hour, largest=1e9)
    if (arrival_rate_per_s is None) == (trace is None):
        raise BadInput("expected an arrival rate or a trace, one of the two")
    question, replay, bursts = _ask(
        service, parse_slo(slo), arrival_rate_per_s, trace, time_column, max_servers, customers, seed
    )
    tick(1, 4)
    reason = impossible(question)
    if reason is not None:
        return _infeasible(question, bursts, reason)
    by_formula = search_formula(question)
    by_poisson = search_poisson(question, by_formula or math.floor(question.load) + 1)
    tick(2, 4)
    by_replay = search(question, replay, by_poisson.servers or 1) if replay is not None else None
    tick(3, 4)
    decided = _decide(question, by_formula, by_poisson, by_replay, bursts)
    if decided.servers is None:
        return _infeasible(question, bursts, not_found(question, decided))
    answer = _assemble(question, decided, by_formula, by_poisson, by_replay, bursts, price)
    tick(4, 4)
    return answer


def _ask(
    service: Service | str | float,
    slo: Slo,
    rate: float | None,
    trace: Trace | str | Path | None,
    time_column: str | None,
    max_servers: int,
    customers: int | None,
    seed: int,
) -> tuple[Question, Workload | None, Burstiness | None]:
    most = whole("max servers", max_servers)
    length = None if customers is None else whole("customers", customers, least=FEWEST, largest=MOST)
    if trace is None:
        assert rate is not None
        law = law_without_trace(service)
        return Question(slo, positive("arrival rate", rate), law, most, seed, length), None, None
    recorded = trace if isinstance(trace, Trace) else read_trace(trace, time_column=time_column)
    law, times = service_of_trace(service, recorded, seed=seed)
    replay = replayed(recorded, times, seed=seed)
    question = Question(slo, recorded.rate_per_s, law, most, seed, length)
    return question, replay, burstiness(recorded.arrivals_s)


def _decide(
    question: Question,
    by_formula: int | None,
    by_poisson: Found,
    by_replay: Found | None,
    bursts: Burstiness | None,
) -> Found:
    """The replay where the trace is bursty; an exact formula where the simulation cannot tell."""
    if by_replay is not None and bursts is not None and not bursts.poisson:
        return by_replay
    if question.exact and by_formula is not None and not by_poisson.settled(question.slo):
        return Found(by_formula, by_poisson.workload)
    return by_poisson


def _assemble(
    question: Question,
    decided: Found,
    by_formula: int | None,
    by_poisson: Found,
    by_replay: Found | None,
    bursts: Burstiness | None,
    price: float | None,
) -> Plan:
    servers = decided.servers
    assert servers is not None
    basis = "replay" if decided is by_replay else "poisson" if decided is by_poisson else "formula"
    return Plan(
        feasible=True,
        reason=None,
        servers=servers,
        **_asked(question),
        basis=basis,
        analytic=question.formula(servers),
        analytic_servers=by_formula,
        poisson_servers=by_poisson.servers,
        replay_servers=by_replay.servers if by_replay is not None else None,
        simulated=decided.workload.at(servers),
        fewer=decided.one_less,
        settled=decided.settled(question.slo),
        verdict=_verdict(question, decided, by_formula, by_poisson, by_replay, bursts),
        burstiness=bursts,
        cost=_cost(servers, question.rate_per_s, price),
        curve=_curve(question, decided, by_poisson.servers),
    )


def _infeasible(question: Question, bursts: Burstiness | None, reason: str) -> Plan:
    return Plan(
        feasible=False,
        reason=reason,
        servers=None,
        **_asked(question),
        basis="poisson" if bursts is None or bursts.poisson else "replay",
        analytic=None,
        analytic_servers=None,
        poisson_servers=None,
        replay_servers=None,
        simulated=None,
        fewer=None,
        settled=True,
        verdict=f"INFEASIBLE: {reason}",
        burstiness=bursts,
        cost=None,
        curve=(),
    )


def _asked(question: Question) -> _Asked:
    return {
        "slo": str(question.slo),
        "metric": question.slo.metric,
        "limit_s": question.slo.limit_s,
        "arrival_rate_per_s": question.rate_per_s,
        "service": question.law.name,
        "mean_service_s": question.law.mean_s,
        "service_scv": question.law.scv,
        "offered_load": question.load,
    }


def _verdict(
    question: Question,
    decided: Found,
    by_formula: int | None,
    by_poisson: Found,
    by_replay: Found | None,
    bursts: Burstiness | None,
) -> str:
    servers, metric = decided.servers, question.slo.metric
    assert servers is not None
    parts = [f"{_servers(servers)}: {metric} is {_with_interval(decided.workload.at(servers), metric)}"]
    if decided.one_less is not None:
        parts.append(f"{_servers(servers - 1)}: {_with_interval(decided.one_less, metric)}")
    elif servers > 1:
        parts.append(f"{_servers(servers - 1)}: unstable, load {question.load / (servers - 1):.4g}")
    if decided is not by_poisson and decided is not by_replay:
        parts.append("too close for simulation to tell, the exact formula decides")
    elif not decided.settled(question.slo):
        parts.append(
            "not settled: an interval holds the limit or is not known, one server more or less may be right"
        )
    asked_for = f"the formula ({question.formula(servers).method}) asks for {by_formula}"
    if by_replay is not None:
        asked_for += (
            f", simulated Poisson arrivals for {by_poisson.servers}, the replay for {by_replay.servers}"
        )
    parts.append(asked_for)
    if bursts is not None:
        parts.append(bursts.verdict)
    return "; ".join(parts)


def _servers(count: int) -> str:
    return f"{count} server" if count == 1 else f"{count} servers"


def _with_interval(run: Simulation, metric: str) -> str:
    low, high = run.estimates[metric].interval()
    known = f" (95 % interval {low:.4g} to {high:.4g})" if math.isfinite(low) else ""
    return f"{run.estimates[metric].value:.4g} s{known}"


def _cost(servers: int, rate_per_s: float, price: float | None) -> dict[str, float] | None:
    if price is None:
        return None
    return {
        "per_server_hour": price,
        "per_hour": servers * price,
        "per_month": servers * price * _HOURS_PER_MONTH,
        "per_million_requests": servers * price / (rate_per_s * 3600) * 1e6,
    }


def _curve(question: Question, decided: Found, poisson_servers: int | None) -> tuple[Point, ...]:
    servers, metric = decided.servers, question.slo.metric
    assert servers is not None
    reach = max(3, servers // 8)
    around = set(range(servers - reach, servers + reach + 1, max(1, reach // 3)))
    around |= {servers - 1, servers, servers + 1, poisson_servers or servers}
    points = []
    for count in sorted(n for n in around if n >= decided.workload.fewest_servers):
        estimate = decided.workload.at(count).estimates[metric]
        points.append(
            Point(count, question.value(question.formula(count)), estimate.value, *estimate.interval())
        )
    return tuple(points)
