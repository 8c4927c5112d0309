"""One long run of a queue, measured with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mfi_command import BadInput
from mm1_planner.arrivals import Arrivals, parse_arrivals
from mm1_planner.inputs import fraction, positive, whole
from mm1_planner.intervals import Estimate, percentiles, ratio
from mm1_planner.models.answer import LEVELS, METRICS
from mm1_planner.service import Service, parse_service
from mm1_planner.streaming import PRECISION, stream_queue
from mm1_planner.streams import ARRIVALS, PATIENCE, SERVICES, stream

BATCHES = 20
FEWEST, MOST = 2_000, 20_000_000
"""Customers of a run that holds them all in memory."""
MOST_STREAMED, LONGEST = 200_000_000, 2_000_000_000
"""Customers of an automatic run, and of the longest run that can be asked for."""
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
        Whether each batch is at least 10 relaxation times long (if not, intervals are too narrow) and, for an
        automatic run, whether means are known to 1 % and the p99 to 5 %.
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
    arrivals: Arrivals | str = "poisson",
    customers: int | None = None,
    most_customers: int = MOST_STREAMED,
    precision: float = PRECISION,
    engine: str = "fast",
    seed: int = 0,
    scenario: int = 0,
    replication: int = 0,
) -> Simulation:
    """Simulate a queue with `servers` servers, first come first served.

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
    arrivals : Arrivals or str
        The stream or its name, as for `parse_arrivals`.
    customers : int, optional
        Customers simulated, up to 2e9; by default as many as the precision needs.
    precision : float
        Relative half width of the 95 % intervals of the mean wait and sojourn at which an automatic run ends;
        their p99 is then known to five times that.
    most_customers : int
        Where the automatic run ends at the latest, NOT CONVERGED.
    engine : {"fast", "simpy"}
        Compiled, or to be read; on the same number of customers the answers are equal.
    seed, scenario, replication : int
        They name the random streams.

    Returns
    -------
    Simulation
        The first customers, at least ten relaxation times, are left out as warm-up.

    Raises
    ------
    BadInput
        If a number is out of range or the engine unknown.

    Notes
    -----
    Memory O(servers + capacity) for a run of automatic length or of more than 2e7 customers with the fast
    engine; other runs hold their customers. Automatic runs with simpy take 2e5 to 6e6 customers.
    """
    rate, law = positive("arrival rate", arrival_rate_per_s), parse_service(service)
    traffic = parse_arrivals(arrivals, rate)
    servers = whole("servers", servers)
    load = traffic.rate_per_s * law.mean_s / servers
    limited = capacity is not None or patience_s is not None
    relaxation = 0.0 if limited else _relaxation(traffic, law, servers)
    names = (seed, scenario, replication)
    if customers is not None:
        whole("customers", customers, least=FEWEST, largest=LONGEST)
    if engine == "fast" and (customers is None or customers > MOST):
        most = whole("most customers", most_customers, least=FEWEST, largest=LONGEST)
        return _stream(
            traffic, law, servers, capacity, patience_s, load, relaxation, names, customers, most, precision
        )
    length = customers_needed(load, servers, law.scv) if customers is None else customers
    length = whole("customers", length, least=FEWEST, largest=MOST)
    gaps, services, patience = _draws(traffic, law, patience_s, *names)(length)
    return measure(
        gaps,
        services,
        servers,
        capacity=capacity,
        patience_s=patience,
        engine=engine,
        load=load,
        warmup=length // (BATCHES + 1),
        relaxation=relaxation,
        seed=seed,
    )


def _stream(
    traffic: Arrivals,
    law: Service,
    servers: int,
    capacity: int | None,
    patience_s: float | None,
    load: float,
    relaxation: float,
    names: tuple[int, int, int],
    customers: int | None,
    most: int,
    precision: float,
) -> Simulation:
    from mm1_planner.engine.fast import Station

    _check_limits(servers, capacity, patience_s is not None)
    record, warmup, reached = stream_queue(
        Station(servers, capacity, patient=patience_s is None),
        _draws(traffic, law, patience_s, *names),
        unit_s=law.mean_s,
        relaxation=relaxation,
        # A queue that grows without end never settles: a short look at it is enough.
        most=most if math.isfinite(relaxation) else min(most, _AUTOMATIC[0]),
        exactly=customers,
        precision=fraction("precision", precision),
    )
    return Simulation(
        engine="fast",
        servers=servers,
        customers=record.customers,
        warmup=warmup,
        seed=names[0],
        load=load,
        stable=math.isfinite(relaxation),
        converged=reached and math.isfinite(relaxation),
        blocking=record.blocking,
        estimates=record.estimates(relaxation if math.isfinite(relaxation) else 0.0),
    )


def _draws(
    traffic: Arrivals, law: Service, patience_s: float | None, seed: int, scenario: int, replication: int
) -> Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """Customers in blocks: the same ones whatever the sizes of the blocks."""
    gaps = traffic.gaps(stream(seed, scenario, replication, ARRIVALS))
    services = stream(seed, scenario, replication, SERVICES)
    patience = stream(seed, scenario, replication, PATIENCE)
    mean = None if patience_s is None else positive("patience", patience_s)

    def draw_block(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        gone = None if mean is None else patience.standard_exponential(count) * mean
        return gaps(count), law.sample(services, count), gone

    return draw_block


def _relaxation(traffic: Arrivals, law: Service, servers: int) -> float:
    """As `relaxation_customers` with the variability of the arrivals, and what their own memory adds."""
    load = traffic.rate_per_s * law.mean_s / servers
    remembered = traffic.rate_per_s * traffic.memory_s
    return relaxation_customers(load, servers, law.scv + max(traffic.dispersion, 1.0) - 1) + remembered


def draw(
    rate: float, law: Service, count: int, *, seed: int, scenario: int = 0, replication: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Gaps and service times of `count` customers, each from its own stream, float64 seconds (count,)."""
    gaps = stream(seed, scenario, replication, ARRIVALS).standard_exponential(count) / rate
    return gaps, law.sample(stream(seed, scenario, replication, SERVICES), count)


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
    _check_limits(servers, capacity, patience_s is not None)
    waits, sojourns = _engine(engine)(gaps_s, services_s, servers, capacity, patience_s)
    # Those who give up have been in the queue as long as they had patience; those turned away never were.
    in_vain = np.where(np.isnan(waits), 0.0 if patience_s is None else patience_s, 0.0)
    return summary(
        (waits, sojourns, gaps_s),
        in_vain=in_vain,
        engine=engine,
        servers=servers,
        load=load,
        stable=load < 1 or capacity is not None or patience_s is not None,
        settled=load < 1 or patience_s is not None,
        warmup=warmup,
        relaxation=relaxation,
        seed=seed,
    )


def summary(
    times: tuple[np.ndarray, np.ndarray, np.ndarray],
    *,
    engine: str,
    servers: int,
    load: float,
    stable: bool,
    settled: bool,
    warmup: int,
    relaxation: float,
    seed: int,
    in_vain: np.ndarray | None = None,
) -> Simulation:
    """What waits, sojourns and gaps of customers in their order say; `settled`: whether they have a limit."""
    waits, sojourns, gaps = (each[warmup:] for each in times)
    wasted = np.zeros(waits.size) if in_vain is None else in_vain[warmup:]
    return Simulation(
        engine=engine,
        servers=servers,
        customers=waits.size,
        warmup=warmup,
        seed=seed,
        load=load,
        stable=stable,
        converged=settled and waits.size / BATCHES >= _LONG_ENOUGH * relaxation,
        blocking=float(np.isnan(waits).mean()),
        estimates=_estimates(waits, sojourns, gaps, wasted, relaxation if load < 1 else 0.0),
    )


def _check_limits(servers: int, capacity: int | None, impatient: bool) -> None:
    if capacity is not None and impatient:
        raise BadInput("a capacity and a patience together are not simulated: pass one of them")
    if capacity is not None:
        whole("capacity", capacity, least=servers)


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
