"""What a plan says: the servers, the promises with their numbers, and the evidence."""

from __future__ import annotations

from dataclasses import dataclass, fields

from mm1_planner.dispersion import Burstiness
from mm1_planner.models.answer import Answer
from mm1_planner.sensitivity import Sensitivity
from mm1_planner.simulation import Simulation


@dataclass(frozen=True)
class Point:
    """The promised metric at a number of servers, by formula (NaN if unknown) and by simulation; seconds."""

    servers: int
    analytic_s: float
    simulated_s: float
    low_s: float
    high_s: float


@dataclass(frozen=True)
class Kept:
    """One promise at the servers planned and with one less; seconds, requests unserved counted as endless.

    Attributes
    ----------
    slo, metric, limit_s
        The promise.
    analytic_s : float or None
        By formula, for these arrivals; for a trace, for Poisson ones.
    simulated_s, low_s, high_s : float
        By the deciding simulation, with its 95 % interval.
    with_one_less_s : float
        Likewise with one server less; infinite where that has no steady state.
    """

    slo: str
    metric: str
    limit_s: float
    analytic_s: float | None
    simulated_s: float
    low_s: float
    high_s: float
    with_one_less_s: float


@dataclass(frozen=True)
class Plan:
    """How many servers, and the evidence.

    Attributes
    ----------
    feasible : bool
        Whether some number of servers up to `max_servers` keeps every promise.
    reason : str or None
        Why none does.
    servers : int or None
        The fewest that do, in simulation.
    slo, metric, limit_s
        The promises, and of the one that is closest to its limit the metric, a name of `METRICS`.
    arrival_rate_per_s, arrivals, service, mean_service_s, service_scv
        The traffic: rate, kind of arrivals; name, mean and squared coefficient of variation of the service.
    offered_load : float
        Rate times mean service time: servers busy on average.
    basis : str
        What decided: `poisson`, `arrivals` or `replay`, a simulation; `formula`, exact where simulation
        cannot tell; or `idle`, without any traffic.
    analytic : Answer or None
        The best formula's answer at `servers`, for these arrivals; for a trace, for Poisson ones.
    analytic_servers, poisson_servers, arrivals_servers, replay_servers : int or None
        The fewest by formula, by simulation of Poisson arrivals, of the arrivals asked for, and by
        replaying the trace.
    simulated, fewer : Simulation or None
        The deciding simulation at `servers`, which keeps the promises, and at one server less, which does
        not (None where that has no steady state, or is zero servers).
    settled : bool
        Whether intervals say so too.
    slos : tuple of Kept
        Each promise with its numbers.
    verdict : str
        All of it in a few sentences.
    burstiness : Burstiness or None
        Of the trace.
    cost : dict or None
        `per_server_hour`, `per_hour`, `per_month` (730 h), `per_million_requests`.
    curve : tuple of Point
        The metric around `servers`.
    sensitivity : Sensitivity or None
        What more traffic or slower service does to these servers.
    """

    feasible: bool
    reason: str | None
    servers: int | None
    slo: str
    metric: str
    limit_s: float
    arrival_rate_per_s: float
    arrivals: str
    service: str
    mean_service_s: float
    service_scv: float
    offered_load: float
    basis: str
    verdict: str
    analytic: Answer | None = None
    analytic_servers: int | None = None
    poisson_servers: int | None = None
    arrivals_servers: int | None = None
    replay_servers: int | None = None
    simulated: Simulation | None = None
    fewer: Simulation | None = None
    settled: bool = True
    slos: tuple[Kept, ...] = ()
    burstiness: Burstiness | None = None
    cost: dict[str, float] | None = None
    curve: tuple[Point, ...] = ()
    sensitivity: Sensitivity | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain data with the same names."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        for name in ("analytic", "simulated", "fewer", "burstiness", "sensitivity"):
            values[name] = values[name].to_dict() if values[name] is not None else None
        listed = {name: [vars(item) for item in getattr(self, name)] for name in ("curve", "slos")}
        return values | listed
