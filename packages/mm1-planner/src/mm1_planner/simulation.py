"""One long run of a queue, measured with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mfi_command import BadInput
from mm1_planner.inputs import positive, whole
from mm1_planner.intervals import Estimate, percentiles, ratio
from mm1_planner.models.answer import LEVELS, METRICS
from mm1_planner.service import Service, parse_service
from mm1_planner.streams import ARRIVALS, PATIENCE, SERVICES, stream

BATCHES = 20
FEWEST, MOST = 2_000, 20_000_000
_AUTOMATIC = (200_000, 6_000_000)
_LONG_ENOUGH = 10.0

_Engine = Callable[
    [np.ndarray, np.ndarray, int, int | None, np.ndarray | None], tuple[np.ndarray, np.ndarray]
]


@dataclass(frozen=True)
class Simulation:
    """What a run of the queue measured.

    Attributes
    ----------
    engine : str
        `fast` (numba) or `simpy`; they agree customer by customer.
    servers, customers, warmup, seed : int
        Servers; customers measured; customers before them that were left out; seed.
    load : float
        Offered work per server: arrival rate times mean service time over servers.
    stable : bool
        Whether load < 1 (or the capacity is finite). Numbers of an unstable queue depend on the run's length.
    converged : bool
        Whether each batch is at least 10 relaxation times long; if not, intervals are too narrow.
    blocking : float
        Share of the customers turned away.
    estimates : dict
        The names of `METRICS` to their `Estimate`.
    """

    engine: str
    servers: int
    customers: int
    warmup: int
    seed: int
    load: float
    stable: bool
    converged: bool
    blocking: float
    estimates: dict[str, Estimate]

    def to_dict(self) -> dict[str, object]:
        """Plain data: each metric by name, and its 95 % interval under `ci95`."""
        common = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "estimates"}
        values = {name: estimate.value for name, estimate in self.estimates.items()}
        return common | values | {"ci95": {name: list(e.interval()) for name, e in self.estimates.items()}}


def simulate(
    *,
    arrival_rate_per_s: float,
    service: Service | str | float,
    servers: int = 1,
    capacity: int | None = None,
    patience_s: float | None = None,
    customers: int | None = None,
    engine: str = "fast",
    seed: int = 0,
    scenario: int = 0,
    replication: int = 0,
) -> Simulation:
    """Simulate Poisson arrivals to `servers` servers with one queue, first come first served.

    Parameters
    ----------
    arrival_rate_per_s : float
        Arrivals per second.
    service : Service, str or float
        A law, its name (`exp:0.5`, `det:0.3`, `lognormal:MEAN:CV`, `gamma:MEAN:CV`), or the mean of an
        exponential, seconds.
    servers, capacity : int
        Servers, and the most customers in the system (unlimited by default).
    patience_s : float, optional
        Mean of the exponential time after which a waiting customer leaves unserved; nobody does by default.
    customers : int, optional
        Customers simulated; by default enough for 20 batches of 40 relaxation times each, from 2e5 to 6e6.
    engine : {"fast", "simpy"}
        Compiled, or to be read; the answers are equal.
    seed, scenario, replication : int
        They name the random streams.

    Returns
    -------
    Simulation
        The first 1/21 of the customers is left out as warm-up.

    Raises
    ------
    BadInput
        If a number is out of range or the engine unknown.
    """
    rate, law = positive("arrival rate", arrival_rate_per_s), parse_service(service)
    servers = whole("servers", servers)
    load = rate * law.mean_s / servers
    length = customers_needed(load, servers, law.scv) if customers is None else customers
    length = whole("customers", length, least=FEWEST, largest=MOST)
    gaps, services = draw(rate, law, length, seed=seed, scenario=scenario, replication=replication)
    return measure(
        gaps,
        services,
        servers,
        capacity=capacity,
        patience_s=None
        if patience_s is None
        else _patience(patience_s, gaps.size, seed, scenario, replication),
        engine=engine,
        load=load,
        warmup=length // (BATCHES + 1),
        relaxation=relaxation_customers(load, servers, law.scv) if capacity is None is patience_s else 0.0,
        seed=seed,
    )


def draw(
    rate: float, law: Service, count: int, *, seed: int, scenario: int = 0, replication: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Gaps and service times of `count` customers, each from its own stream, float64 seconds (count,)."""
    gaps = stream(seed, scenario, replication, ARRIVALS).standard_exponential(count) / rate
    return gaps, law.sample(stream(seed, scenario, replication, SERVICES), count)


def _patience(mean_s: float, count: int, seed: int, scenario: int, replication: int) -> np.ndarray:
    generator = stream(seed, scenario, replication, PATIENCE)
    return generator.standard_exponential(count) * positive("patience", mean_s)


def measure(
    gaps_s: np.ndarray,
    services_s: np.ndarray,
    servers: int,
    *,
    load: float,
    capacity: int | None = None,
    patience_s: np.ndarray | None = None,
    engine: str = "fast",
    warmup: int = 0,
    relaxation: float = 0.0,
    seed: int = 0,
) -> Simulation:
    """Run the queue on given gaps, services and patience, and measure it; others draw or replay them."""
    if capacity is not None and patience_s is not None:
        raise BadInput("a capacity and a patience together are not simulated: pass one of them")
    if capacity is not None:
        whole("capacity", capacity, least=servers)
    waits, sojourns = _engine(engine)(gaps_s, services_s, servers, capacity, patience_s)
    # Those who give up have been in the queue as long as they had patience; those turned away never were.
    in_vain = np.where(np.isnan(waits), 0.0 if patience_s is None else patience_s, 0.0)
    waits, sojourns, gaps = waits[warmup:], sojourns[warmup:], gaps_s[warmup:]
    return Simulation(
        engine=engine,
        servers=servers,
        customers=waits.size,
        warmup=warmup,
        seed=seed,
        load=load,
        stable=load < 1 or capacity is not None or patience_s is not None,
        converged=(load < 1 or patience_s is not None) and waits.size / BATCHES >= _LONG_ENOUGH * relaxation,
        blocking=float(np.isnan(waits).mean()),
        estimates=_estimates(waits, sojourns, gaps, in_vain[warmup:], relaxation if load < 1 else 0.0),
    )


def relaxation_customers(load: float, servers: int, scv: float) -> float:
    r"""About how many arrivals the queue takes to forget its state; infinite at load >= 1.

    $\max\bigl(c\rho,\; \rho(1+c_s^2)/2\,/(1-\sqrt\rho)^2\bigr)$: M/M/1's relaxation time, and at least one
    service time. Gross et al., section 2.11.
    """
    if load >= 1:
        return math.inf
    return max(servers * load, load * (1 + scv) / 2 / (1 - math.sqrt(load)) ** 2)


def customers_needed(load: float, servers: int, scv: float) -> int:
    """Length of a run whose batches are 40 relaxation times long, between 2e5 and 6e6."""
    fewest, most = _AUTOMATIC
    wanted = (BATCHES + 1) * 40 * relaxation_customers(load, servers, scv)
    return int(min(max(wanted, fewest), most))


def _engine(name: str) -> _Engine:
    if name == "fast":
        from mm1_planner.engine.fast import simulate_fast

        return simulate_fast
    if name == "simpy":
        from mm1_planner.engine.reference import simulate_with_simpy

        return simulate_with_simpy
    raise BadInput(f"engine is {name!r}; expected 'fast' or 'simpy'")


def _estimates(
    waits: np.ndarray, sojourns: np.ndarray, gaps: np.ndarray, in_vain: np.ndarray, cluster: float
) -> dict[str, Estimate]:
    """Every metric; customers turned away count in the arrival stream alone."""
    edges = np.linspace(0, waits.size, BATCHES + 1).astype(int)
    slices = [slice(low, high) for low, high in pairwise(edges)]
    spans = np.array([gaps[part].sum() for part in slices])
    wasted = np.array([in_vain[part].sum() for part in slices])
    found: dict[str, Estimate] = {}
    for name, population, times in (("wait", "in_queue", waits), ("sojourn", "in_system", sojourns)):
        batches = [times[part][~np.isnan(times[part])] for part in slices]
        sums = np.array([batch.sum() for batch in batches])
        found[f"mean_{name}_s"] = ratio(sums, np.array([float(batch.size) for batch in batches]))
        # The time average of a number in the system is the time spent there over the time gone by.
        found[f"mean_{population}"] = ratio(sums + wasted, spans)
        levels = list(LEVELS.values())
        for level, estimate in zip(LEVELS, percentiles(batches, levels, cluster=cluster), strict=True):
            found[f"{level}_{name}_s"] = estimate
    return {name: found[name] for name in METRICS}
