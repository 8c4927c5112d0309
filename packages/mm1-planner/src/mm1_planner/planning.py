"""The fewest servers that keep promises, or why none do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypedDict

from mfi_command import BadInput
from mm1_planner.arrivals import Arrivals, parse_arrivals
from mm1_planner.cost import cost_of
from mm1_planner.dispersion import Burstiness, burstiness
from mm1_planner.inputs import not_negative, positive, whole
from mm1_planner.plans import Kept, Plan, Point
from mm1_planner.sensitivity import Sensitivity, sensitivity
from mm1_planner.service import Service
from mm1_planner.simulation import FEWEST, MOST
from mm1_planner.sizing import (
    Found,
    Question,
    binding,
    first_guess,
    impossible,
    not_found,
    search,
    search_drawn,
    search_formula,
)
from mm1_planner.slo import Slo, parse_slos
from mm1_planner.trace import Trace, read_trace
from mm1_planner.verdicts import idle_verdict, verdict_of
from mm1_planner.workload import Limits, Workload, law_without_trace, replayed, service_of_trace


class _Asked(TypedDict):
    """The fields of a plan that repeat the question."""

    slo: str
    arrival_rate_per_s: float
    arrivals: str
    service: str
    mean_service_s: float
    service_scv: float
    offered_load: float


def plan(
    *,
    service: Service | str | float,
    slo: Slo | str | Sequence[Slo | str],
    arrival_rate_per_s: float | None = None,
    arrivals: Arrivals | str = "poisson",
    trace: Trace | str | Path | None = None,
    time_column: str | None = None,
    places: int | None = None,
    patience_s: float | None = None,
    min_servers: int = 1,
    max_servers: int = 10_000,
    customers: int | None = None,
    cost_per_server_hour: float | None = None,
    seed: int = 0,
    around: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
) -> Plan:
    """The fewest servers that keep every promise, for a rate of arrivals or for recorded ones.

    One server serves one request at a time; one queue, first come first served. For a rate, simulation of
    the arrivals decides, on the same draws for each number of servers, and runs four times as long while
    the answer is too close to call (up to 2e6 requests); if it still is and the formula is exact, the
    formula decides. For a trace, the burstiness test decides whether Poisson arrivals may be trusted; where
    not, the trace is replayed. The formula stands beside the simulation in every case.

    Parameters
    ----------
    service : Service, str or float
        Seconds (mean of an exponential), a law (`exp:0.5`, `det:0.3`, `lognormal:MEAN:CV`,
        `gamma:MEAN:CV`), or an expression over the trace's columns (`0.05 + 0.02*GeneratedTokens`).
    slo : Slo, str or a sequence of them
        Such as `p99_wait<0.5` or `p99.9_sojourn<2`; all of them are kept together.
    arrival_rate_per_s, trace
        One of the two. A trace is read by `read_trace`, its time column named by `time_column`. A rate of 0
        is idle and needs `min_servers`.
    arrivals : Arrivals or str
        How they come at that rate: see `parse_arrivals` (`poisson`, `gamma:CV`, `mmpp:PEAK:SHARE:SECONDS`).
    places : int, optional
        Most requests waiting; one more is turned away. Unlimited by default.
    patience_s : float, optional
        Mean time after which a waiting request gives up. Requests turned away or given up count against
        every promise as if they took for ever.
    min_servers, max_servers : int
        Where the search begins and ends.
    customers : int, optional
        Length of the simulated runs; automatic by default.
    cost_per_server_hour : float, optional
        In any currency.
    seed : int
        Of every draw.
    around : bool
        Whether to look around the answer as well: `curve` and `sensitivity`, half of the time.
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
    least = whole("min servers", min_servers)
    most = whole("max servers", max_servers, least=least)
    length = None if customers is None else whole("customers", customers, least=FEWEST, largest=MOST)
    slos, limits = parse_slos(slo), _limits(places, patience_s)
    if arrival_rate_per_s == 0:
        return _idle(slos, law_without_trace(service), least, price)
    asked = (least, most, seed, length, limits)
    if trace is None:
        assert arrival_rate_per_s is not None
        rate = positive("arrival rate", arrival_rate_per_s)
        question = Question(slos, parse_arrivals(arrivals, rate), law_without_trace(service), *asked)
        replay, bursts = None, None
    else:
        recorded = trace if isinstance(trace, Trace) else read_trace(trace, time_column=time_column)
        law, times = service_of_trace(service, recorded, seed=seed)
        traffic = parse_arrivals("poisson", recorded.rate_per_s)
        question = Question(slos, traffic, law, *asked)
        replay, bursts = (
            replayed(recorded, times, seed=seed, limits=limits),
            burstiness(recorded.arrivals_s),
        )
    kind = (
        arrivals if trace is None and isinstance(arrivals, str) else "trace" if trace is not None else "given"
    )
    tick(1, 5)
    reason = impossible(question)
    if reason is not None:
        return _infeasible(question, kind, bursts, reason)
    return _search(question, kind, replay, bursts, price, around, tick)


def _limits(places: int | None, patience_s: float | None) -> Limits:
    return Limits(
        None if places is None else whole("places", places, least=0),
        None if patience_s is None else positive("patience", patience_s),
    )


def _search(
    question: Question,
    kind: str,
    replay: Workload | None,
    bursts: Burstiness | None,
    price: float | None,
    around: bool,
    tick: Callable[[int, int], None],
) -> Plan:
    # Beside other arrivals the Poisson number is for comparison only.
    by_poisson = search_drawn(question.with_poisson(), first_guess(question), settle=question.poisson)
    tick(2, 5)
    guess = by_poisson.servers or 1
    by_arrivals = None if question.poisson else search_drawn(question, guess)
    by_replay = None if replay is None else search(question, replay, guess)
    by_formula = search_formula(question, guess if by_arrivals is None else by_arrivals.servers or guess)
    tick(3, 5)
    decided, basis = _decide(question, by_formula, by_poisson, by_arrivals, by_replay, bursts)
    if decided.servers is None:
        return _infeasible(question, kind, bursts, not_found(question, decided))
    servers = decided.servers
    metric = binding(question.slos, decided.workload, _failing(decided)).metric
    limit_s = next(slo.limit_s for slo in question.slos if slo.metric == metric)
    tick(4, 5)
    curve, course = (
        _around(question, decided, Slo(metric, limit_s), by_poisson.servers) if around else ((), None)
    )
    counts = {
        "analytic_servers": by_formula,
        "poisson_servers": by_poisson.servers,
        "arrivals_servers": None if by_arrivals is None else by_arrivals.servers,
        "replay_servers": None if by_replay is None else by_replay.servers,
    }
    answer = Plan(
        feasible=True,
        reason=None,
        servers=servers,
        **_asked(question, kind),
        metric=metric,
        limit_s=limit_s,
        basis=basis,
        analytic=question.formula(servers),
        **counts,
        simulated=decided.workload.at(servers),
        fewer=decided.one_less,
        settled=decided.settled(question.slos),
        slos=tuple(_kept(question, decided, slo) for slo in question.slos),
        verdict=verdict_of(question, decided, basis, counts, bursts),
        burstiness=bursts,
        cost=None if price is None else cost_of(servers, question.rate_per_s, price),
        curve=curve,
        sensitivity=course,
    )
    tick(5, 5)
    return answer


def _around(
    question: Question, decided: Found, slo: Slo, poisson_servers: int | None
) -> tuple[tuple[Point, ...], Sensitivity]:
    """The metric at other numbers of servers, and at other rates and services on a second core."""
    assert decided.servers is not None
    with ThreadPoolExecutor(max_workers=1) as second:
        course = second.submit(sensitivity, question, decided.workload, decided.servers)
        return _curve(question, decided, slo, poisson_servers), course.result()


def _decide(
    question: Question,
    by_formula: int | None,
    by_poisson: Found,
    by_arrivals: Found | None,
    by_replay: Found | None,
    bursts: Burstiness | None,
) -> tuple[Found, str]:
    """The replay where the trace is bursty; an exact formula where the simulation cannot tell."""
    if by_replay is not None and bursts is not None and not bursts.poisson:
        return by_replay, "replay"
    drawn, basis = (by_poisson, "poisson") if by_arrivals is None else (by_arrivals, "arrivals")
    if question.exact and by_formula is not None and not drawn.settled(question.slos):
        return Found(by_formula, drawn.workload), "formula"
    return drawn, basis


def _failing(decided: Found) -> int:
    """One server less where that can be tried: there the promise that binds is missed."""
    servers = decided.servers or 1
    return servers - 1 if decided.one_less is not None else servers


def _kept(question: Question, decided: Found, slo: Slo) -> Kept:
    servers = decided.servers
    assert servers is not None
    estimate = decided.workload.estimate(servers, slo)
    less = math.inf if decided.one_less is None else decided.workload.estimate(servers - 1, slo).value
    formula = None if question.limits else float(getattr(question.formula(servers), slo.metric))
    return Kept(str(slo), slo.metric, slo.limit_s, formula, estimate.value, *estimate.interval(), less)


def _infeasible(question: Question, kind: str, bursts: Burstiness | None, reason: str) -> Plan:
    return Plan(
        feasible=False,
        reason=reason,
        servers=None,
        **_asked(question, kind),
        metric=question.slos[0].metric,
        limit_s=question.slos[0].limit_s,
        basis="replay" if bursts is not None and not bursts.poisson else "poisson",
        verdict=f"INFEASIBLE: {reason}",
        burstiness=bursts,
    )


def _idle(slos: tuple[Slo, ...], law: Service, least: int, price: float | None) -> Plan:
    """No traffic keeps every promise: the smallest number allowed is the answer, not 0/0."""
    return Plan(
        feasible=True,
        reason=None,
        servers=least,
        slo=", ".join(map(str, slos)),
        metric=slos[0].metric,
        limit_s=slos[0].limit_s,
        arrival_rate_per_s=0.0,
        arrivals="none",
        service=law.name,
        mean_service_s=law.mean_s,
        service_scv=law.scv,
        offered_load=0.0,
        basis="idle",
        verdict=idle_verdict(least),
        cost=None if price is None else cost_of(least, 0.0, price),
    )


def _asked(question: Question, kind: str) -> _Asked:
    return {
        "slo": ", ".join(map(str, question.slos)),
        "arrival_rate_per_s": question.rate_per_s,
        "arrivals": kind,
        "service": question.law.name,
        "mean_service_s": question.law.mean_s,
        "service_scv": question.law.scv,
        "offered_load": question.load,
    }


def _curve(question: Question, decided: Found, slo: Slo, poisson_servers: int | None) -> tuple[Point, ...]:
    servers, workload = decided.servers, decided.workload
    assert servers is not None
    reach = max(3, servers // 8)
    around = set(range(servers - reach, servers + reach + 1, max(1, reach // 3)))
    around |= {servers - 1, servers, servers + 1, poisson_servers or servers}
    points = []
    for count in sorted(n for n in around if n >= workload.fewest_servers):
        estimate, formula = workload.estimate(count, slo), question.known(count, slo.metric)
        points.append(Point(count, formula, estimate.value, *estimate.interval()))
    return tuple(points)
