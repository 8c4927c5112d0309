"""A queue solved twice: by its formula and by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from mfi_command import BadInput
from mm1_planner.arrivals import Arrivals, parse_arrivals
from mm1_planner.inputs import MAX_SERVERS, not_negative, positive, whole
from mm1_planner.models.answer import METRICS, Answer
from mm1_planner.models.choice import answer_to, is_poisson
from mm1_planner.models.erlang_a import ErlangA
from mm1_planner.models.mmck import MMcK
from mm1_planner.service import Exponential, Service, gamma_service, parse_service
from mm1_planner.simulation import Simulation, simulate


@dataclass(frozen=True)
class Solution:
    """The formula's answer, the simulated one beside it, and what the two say together.

    Attributes
    ----------
    answer : Answer
        From the formula.
    simulated : Simulation or None
        None for an unstable queue, which has no steady state to measure, and where not asked for.
    verdict : str
        Whether they agree, in a sentence.
    """

    answer: Answer
    simulated: Simulation | None
    verdict: str

    def to_dict(self) -> dict[str, object]:
        """The answer's names, `simulated` and `verdict`."""
        simulated = self.simulated.to_dict() if self.simulated else None
        return {**self.answer.to_dict(), "simulated": simulated, "verdict": self.verdict}


def solve(
    *,
    arrival_rate_per_s: float,
    service_rate_per_s: float | None = None,
    servers: int = 1,
    capacity: int | None = None,
    scv: float = 1.0,
    service: Service | str | float | None = None,
    arrivals: Arrivals | str = "poisson",
    patience_s: float | None = None,
    customers: int | None = None,
    engine: str = "fast",
    seed: int = 0,
    simulated: bool = True,
) -> Solution:
    """Means and percentiles of a queue, first come first served, by formula and by simulation.

    Parameters
    ----------
    arrival_rate_per_s : float
        Arrivals per second.
    service_rate_per_s : float, optional
        Services per second of one busy server.
    servers : int
        Servers, one queue, first come first served.
    capacity : int, optional
        Most customers in the system; `capacity == servers` is Erlang's loss system.
    scv : float
        Variance over mean² of the service time: 1 exponential, 0 constant. Other values are simulated as a
        gamma law; with several servers and neither 0 nor 1 the formula is approximate.
    service : Service, str or float, optional
        The law of the service time itself, instead of `service_rate_per_s` and `scv`.
    arrivals : Arrivals or str
        The stream or its name, as for `parse_arrivals`: Poisson, renewal or MMPP.
    patience_s : float, optional
        Mean of the exponential patience of a waiting customer, who then leaves unserved (Erlang A).
    customers, engine, seed
        As for `simulate`.
    simulated : bool
        False leaves the simulation out.

    Raises
    ------
    BadInput
        If a number is out of range, both or neither of service and service rate are given, or a capacity or a
        patience comes with what has no formula: other arrivals than Poisson, other services than exponential.

    Examples
    --------
    >>> solve(arrival_rate_per_s=5, service_rate_per_s=8, simulated=False).answer.mean_sojourn_s
    0.3333333333333333
    """
    rate, law = positive("arrival rate", arrival_rate_per_s), _law(service_rate_per_s, scv, service)
    traffic = parse_arrivals(arrivals, rate)
    servers = whole("servers", servers)
    answer = _formula(traffic, law, servers, capacity, patience_s)
    run = partial(
        simulate,
        arrival_rate_per_s=rate,
        service=law,
        servers=servers,
        capacity=capacity,
        patience_s=patience_s,
        arrivals=traffic,
        customers=customers,
        engine=engine,
        seed=seed,
    )
    return beside(answer, run if simulated else None)


def _law(service_rate_per_s: float | None, scv: float, service: Service | str | float | None) -> Service:
    if (service is None) == (service_rate_per_s is None):
        raise BadInput("give either a service rate (with its scv) or the law of the service time")
    if service is not None:
        return parse_service(service)
    rate = positive("service rate", 0.0 if service_rate_per_s is None else service_rate_per_s)
    return gamma_service(1 / rate, not_negative("scv", scv, largest=1e4))


def _formula(
    traffic: Arrivals, law: Service, servers: int, capacity: int | None, patience_s: float | None
) -> Answer:
    rate = traffic.rate_per_s
    if capacity is not None or patience_s is not None:
        name = "capacity" if patience_s is None else "patience"
        if not is_poisson(traffic) or not isinstance(law, Exponential) or None not in (capacity, patience_s):
            raise BadInput(
                f"{name}: the formula needs Poisson arrivals, exponential service (scv 1), and only one of "
                "capacity and patience"
            )
        if patience_s is not None:
            return ErlangA(rate, 1 / law.mean_s, servers, patience_s).answer()
        room = whole("capacity", capacity or 0, least=servers, largest=MAX_SERVERS)
        return MMcK(rate, 1 / law.mean_s, servers, room).answer()
    return answer_to(traffic, law, servers)


def beside(answer: Answer, run: Callable[[], Simulation] | None) -> Solution:
    """The answer with its simulation, where one is wanted and there is something to measure."""
    if run is None or not answer.stable:
        return Solution(answer, None, without_simulation(answer))
    found = run()
    return Solution(answer, found, compare(answer, found))


def without_simulation(answer: Answer) -> str:
    """The verdict where there is only the formula."""
    if answer.stable:
        return f"formula: {answer.method}; not simulated"
    return (
        f"unstable: the load is {answer.utilization:.6g} per server, work arrives at least as fast as it can "
        "be done and the queue grows without end"
    )


def compare(answer: Answer, run: Simulation) -> str:
    """Whether formula and simulation agree, in a sentence."""
    inside = total = 0
    worst, worst_metric = 0.0, ""
    for metric in METRICS:
        low, high = run.estimates[metric].interval()
        formula = float(getattr(answer, metric))
        if math.isnan(low):
            continue
        total += 1
        inside += low <= formula <= high
        off = abs(formula - run.estimates[metric].value) / formula if formula else 0.0
        if off > worst:
            worst, worst_metric = off, metric
    verdict = (
        f"the formula ({answer.method}) lies inside the simulation's 95 % interval for {inside} of {total}"
    )
    if worst_metric:
        verdict += f" numbers; they differ most in {worst_metric}, by {worst:.1%}"
    if total < len(METRICS):
        verdict += "; no interval where the run holds too few long waits"
    if "simulate" in answer.method:
        verdict += "; take the simulated numbers"
    if not run.converged:
        verdict += "; NOT CONVERGED: the run is too short for this load and the precision"
    return verdict
