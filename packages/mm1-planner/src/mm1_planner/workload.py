"""The requests that a plan is tried on: drawn, or replayed from a trace."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from mfi_command import BadInput
from mm1_planner.expression import column_names, evaluate
from mm1_planner.inputs import parse_seconds
from mm1_planner.service import FORMS, Empirical, Service, parse_service
from mm1_planner.simulation import BATCHES, Simulation, draw, measure, relaxation_customers
from mm1_planner.streams import SERVICES, stream
from mm1_planner.trace import Trace


@dataclass(frozen=True)
class Workload:
    """Gaps and service times that any number of servers can be tried on; each try is measured once.

    Attributes
    ----------
    gaps_s, services_s : ndarray
        float64 seconds (n,).
    offered_load : float
        Arrival rate times mean service time, in servers.
    scv : float
        Squared coefficient of variation of the service time.
    warmup : int
        Requests left out at the start. A replay leaves none out: each of them was somebody's.
    endless : bool
        Whether the run stands for an endless one, where a load of 1 or more has no answer.
    seed : int
        Of the draws.
    """

    gaps_s: np.ndarray
    services_s: np.ndarray
    offered_load: float
    scv: float
    warmup: int
    endless: bool
    seed: int
    tried: dict[int, Simulation] = field(default_factory=dict, repr=False)

    @property
    def fewest_servers(self) -> int:
        """The smallest number worth a try."""
        return math.floor(self.offered_load) + 1 if self.endless else 1

    def at(self, servers: int) -> Simulation:
        """The measurements with so many servers."""
        if servers not in self.tried:
            load = self.offered_load / servers
            self.tried[servers] = measure(
                self.gaps_s,
                self.services_s,
                servers,
                load=load,
                warmup=self.warmup,
                relaxation=relaxation_customers(load, servers, self.scv) if self.endless else 0.0,
                seed=self.seed,
            )
        return self.tried[servers]


def drawn(rate_per_s: float, law: Service, customers: int, *, seed: int) -> Workload:
    """Poisson arrivals with independent service times."""
    gaps, services = draw(rate_per_s, law, customers, seed=seed)
    warmup = customers // (BATCHES + 1)
    return Workload(gaps, services, rate_per_s * law.mean_s, law.scv, warmup, True, seed)


def replayed(trace: Trace, services_s: np.ndarray, *, seed: int) -> Workload:
    """The arrivals of a trace, each with its service time."""
    mean = float(services_s.mean())
    scv = float(services_s.var()) / mean**2
    return Workload(trace.gaps_s, services_s, trace.rate_per_s * mean, scv, 0, False, seed)


def service_of_trace(text: str | float | Service, trace: Trace, *, seed: int) -> tuple[Service, np.ndarray]:
    """The law of the service times over a trace, and the time of each request.

    `text` is a law, as for `parse_service`, drawn independently for each request; or an expression over the
    trace's columns, such as `0.05 + 0.02*GeneratedTokens`.

    Raises
    ------
    BadInput
        If it is neither, or no request takes any time.
    """
    if not isinstance(text, str) or not is_expression(text):
        law = parse_service(text)
        return law, law.sample(stream(seed, 0, 0, SERVICES), trace.requests)
    columns = {name: trace.column(name) for name in column_names(text)}
    times = evaluate(text, columns, rows=trace.requests)
    if not times.max() > 0:
        raise BadInput(f"{text!r} is 0 in every row; expected seconds of service")
    return Empirical(times, text), times


def is_expression(text: str) -> bool:
    """Whether the text is neither a plain number of seconds nor a law written with colons."""
    if ":" in text:
        return False
    try:
        parse_seconds("service time", text)
    except BadInput:
        return _starts_no_number(text)
    return False


def law_without_trace(text: str | float | Service) -> Service:
    """The law, or a sentence that an expression needs a trace."""
    if isinstance(text, str) and is_expression(text):
        raise BadInput(f"service {text!r} is an expression, which needs the columns of a trace; or {FORMS}")
    return parse_service(text)


def _starts_no_number(text: str) -> bool:
    # `-1` and `nan` are numbers given wrong, not arithmetic: their own sentence helps more.
    try:
        float(text)
    except ValueError:
        return True
    return False
