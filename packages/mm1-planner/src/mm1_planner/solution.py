"""A queue solved twice: by its formula and by simulation."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mfi_command import BadInput
from mm1_planner.inputs import MAX_SERVERS, not_negative, positive, whole
from mm1_planner.models.answer import METRICS, Answer
from mm1_planner.models.choice import answer_of
from mm1_planner.models.erlang_a import ErlangA
from mm1_planner.models.mmck import MMcK
from mm1_planner.service import Service, gamma_service
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
    service_rate_per_s: float,
    servers: int = 1,
    capacity: int | None = None,
    scv: float = 1.0,
    patience_s: float | None = None,
    customers: int | None = None,
    engine: str = "fast",
    seed: int = 0,
    simulated: bool = True,
) -> Solution:
    """Means and percentiles of a queue with Poisson arrivals, by formula and by simulation.

    Parameters
    ----------
    arrival_rate_per_s, service_rate_per_s : float
        Arrivals per second; services per second of one busy server.
    servers : int
        Servers, one queue, first come first served.
    capacity : int, optional
        Most customers in the system; `capacity == servers` is Erlang's loss system.
    scv : float
        Variance over mean² of the service time: 1 exponential, 0 constant. Other values are simulated as a
        gamma law; with several servers and neither 0 nor 1 the formula uses the two moments only.
    patience_s : float, optional
        Mean of the exponential patience of a waiting customer, who then leaves unserved (Erlang A).
    customers, engine, seed
        As for `simulate`.
    simulated : bool
        False leaves the simulation out.

    Raises
    ------
    BadInput
        If a number is out of range, or a capacity or a patience comes with `scv` other than 1 or with both.

    Examples
    --------
    >>> solve(arrival_rate_per_s=5, service_rate_per_s=8, simulated=False).answer.mean_sojourn_s
    0.3333333333333333
    """
    rate = positive("arrival rate", arrival_rate_per_s)
    law = gamma_service(
        1 / positive("service rate", service_rate_per_s), not_negative("scv", scv, largest=1e4)
    )
    answer = _formula(rate, service_rate_per_s, whole("servers", servers), capacity, law, patience_s)
    if not simulated or not answer.stable:
        return Solution(answer, None, _without_simulation(answer))
    run = simulate(
        arrival_rate_per_s=rate,
        service=law,
        servers=servers,
        capacity=capacity,
        patience_s=patience_s,
        customers=customers,
        engine=engine,
        seed=seed,
    )
    return Solution(answer, run, _compare(answer, run))


def _formula(
    rate: float,
    service_rate: float,
    servers: int,
    capacity: int | None,
    law: Service,
    patience_s: float | None,
) -> Answer:
    if patience_s is not None:
        if law.scv != 1 or capacity is not None:
            raise BadInput("patience: the formula needs exponential service, scv 1, and no capacity")
        return ErlangA(rate, service_rate, servers, patience_s).answer()
    if capacity is not None:
        if law.scv != 1:
            raise BadInput(f"capacity with scv {law.scv:g}: the formula needs exponential service, scv 1")
        return MMcK(rate, service_rate, servers, whole("capacity", capacity, largest=MAX_SERVERS)).answer()
    return answer_of(rate, law, servers)


def _without_simulation(answer: Answer) -> str:
    if answer.stable:
        return f"formula: {answer.method}; not simulated"
    return (
        f"unstable: the load is {answer.utilization:.6g} per server, work arrives at least as fast as it can "
        "be done and the queue grows without end"
    )


def _compare(answer: Answer, run: Simulation) -> str:
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
    if not run.converged:
        verdict += "; NOT CONVERGED: the run is short for this load, its intervals are too narrow"
    return verdict
