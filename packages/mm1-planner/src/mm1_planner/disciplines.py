"""Simulations of priorities, of sharing and of batches: what is not first come first served one by one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from mfi_command import BadInput
from mm1_planner.arrivals import Arrivals, parse_arrivals
from mm1_planner.inputs import not_negative, positive, whole
from mm1_planner.models.priority import PriorityClass
from mm1_planner.service import Service, parse_service
from mm1_planner.simulation import BATCHES, FEWEST, Simulation, relaxation_customers, summary
from mm1_planner.streaming import PRECISION, precise
from mm1_planner.streams import ARRIVALS, CLASSES, SERVICES, stream

HELD = 6_400_000
"""Most customers of an automatic run; each is held in memory."""

_FIRST, _LONGER = 100_000, 4

Times = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Waits, sojourns and gaps of customers in their order, float64 seconds (n,)."""


def simulate_priorities(
    classes: Sequence[PriorityClass],
    *,
    servers: int = 1,
    customers: int | None = None,
    engine: str = "fast",
    seed: int = 0,
    scenario: int = 0,
    replication: int = 0,
) -> list[Simulation]:
    """Simulate non-preemptive priorities with any service laws; one `Simulation` for each class, in order.

    Parameters
    ----------
    classes : sequence of PriorityClass
        Poisson arrivals and service law of each, the most urgent first.
    servers : int
        Servers, all for every class.
    customers : int, optional
        Customers of all classes together; by default as many as it takes to know the means to 1 % and the
        p99 to 5 % in every stable class, up to 6.4e6, else NOT CONVERGED.
    engine, seed, scenario, replication
        As for `simulate`.

    Raises
    ------
    BadInput
        If a number is out of range or the engine unknown.
    """
    servers = whole("servers", servers)
    if not classes:
        raise BadInput("no classes; expected at least one")
    rates = np.array([positive("arrival rate", each.arrival_rate_per_s) for each in classes])
    loads = np.cumsum([each.load for each in classes]) / servers
    scv = max(each.service.scv for each in classes)
    serve = _priority_engine(engine)

    def run(length: int) -> list[Simulation]:
        gaps = stream(seed, scenario, replication, ARRIVALS).standard_exponential(length) / rates.sum()
        kinds = stream(seed, scenario, replication, CLASSES).choice(rates.size, length, p=rates / rates.sum())
        rng, services = stream(seed, scenario, replication, SERVICES), np.empty(length)
        for kind, each in enumerate(classes):
            chosen = kinds == kind
            services[chosen] = each.service.sample(rng, int(chosen.sum()))
        waits, sojourns = serve(gaps, services, kinds, servers)
        clock, found = np.cumsum(gaps), []
        for kind, load in enumerate(loads):
            chosen = kinds == kind
            own = np.diff(clock[chosen], prepend=0.0)
            if own.size < 2 * (BATCHES + 1):
                raise BadInput(f"class {kind + 1} has {own.size} customers of {length}; simulate more")
            # Those who are overtaken wait for the busy periods of those before them, too.
            relaxation = relaxation_customers(float(load), servers, scv) * rates[kind] / rates.sum()
            found.append(
                _summary(
                    (waits[chosen], sojourns[chosen], own), engine, servers, float(load), relaxation, seed
                )
            )
        return found

    return _long_enough(run, customers)


def simulate_shared(
    *,
    arrival_rate_per_s: float,
    work: Service | str | float,
    speeds: Sequence[float],
    limited: bool = False,
    arrivals: Arrivals | str = "poisson",
    customers: int | None = None,
    engine: str = "fast",
    seed: int = 0,
    scenario: int = 0,
    replication: int = 0,
) -> Simulation:
    """Simulate customers served side by side, with any law of the work.

    Parameters
    ----------
    arrival_rate_per_s : float
        Arrivals per second.
    work : Service, str or float
        Law of the work, in seconds at speed 1.
    speeds, limited
        As for `Sharing`; `[1.0]` is processor sharing.
    arrivals, customers, engine, seed, scenario, replication
        As for `simulate`, up to 6.4e6 customers.

    Raises
    ------
    BadInput
        If a number is out of range or the engine unknown.
    """
    rate, law = positive("arrival rate", arrival_rate_per_s), parse_service(work)
    pace = np.array([positive("speed", each) for each in speeds])
    if not pace.size:
        raise BadInput("no speeds; expected at least one")
    traffic = parse_arrivals(arrivals, rate)
    load = traffic.rate_per_s * law.mean_s / (pace.size * pace[-1])
    serve = _sharing_engine(engine)

    def run(length: int) -> list[Simulation]:
        gaps = traffic.gaps(stream(seed, scenario, replication, ARRIVALS))(length)
        works = law.sample(stream(seed, scenario, replication, SERVICES), length)
        waits, sojourns = serve(gaps, works, pace, limited=limited)
        # The work in the system forgets its past as the queue's does.
        relaxation = relaxation_customers(load, pace.size, law.scv + max(traffic.dispersion - 1, 0.0))
        relaxation += traffic.rate_per_s * traffic.memory_s
        return [_summary((waits, sojourns, gaps), engine, pace.size, load, relaxation, seed)]

    return _long_enough(run, customers)[0]


def simulate_batches(
    *,
    arrival_rate_per_s: float,
    fixed_s: float,
    each_s: float,
    largest: int | None = None,
    arrivals: Arrivals | str = "poisson",
    customers: int | None = None,
    engine: str = "fast",
    seed: int = 0,
    scenario: int = 0,
    replication: int = 0,
) -> Simulation:
    """Simulate a server that takes all who wait in one batch of `fixed_s + n * each_s` seconds.

    Parameters
    ----------
    arrival_rate_per_s, fixed_s, each_s, largest
        As for `Batching`.
    arrivals, customers, engine, seed, scenario, replication
        As for `simulate`, up to 6.4e6 customers.

    Raises
    ------
    BadInput
        If a number is out of range or the engine unknown.
    """
    traffic = parse_arrivals(arrivals, positive("arrival rate", arrival_rate_per_s))
    fixed, each = not_negative("fixed time of a batch", fixed_s), not_negative("time of each", each_s)
    positive("time of a batch of one", fixed + each)
    limit = None if largest is None else whole("largest batch", largest)
    load = traffic.rate_per_s * (each if limit is None else fixed / limit + each)
    serve = _batching_engine(engine)

    def run(length: int) -> list[Simulation]:
        gaps = traffic.gaps(stream(seed, scenario, replication, ARRIVALS))(length)
        waits, sojourns = serve(gaps, fixed, each, limit)
        # Whole batches are the steps of this queue.
        together = max(1.0, traffic.rate_per_s * fixed / max(1 - load, 1e-3), limit or 1)
        relaxation = relaxation_customers(load, 1, max(traffic.dispersion - 1, 0.0)) + 5 * together
        return [_summary((waits, sojourns, gaps), engine, 1, load, relaxation, seed)]

    return _long_enough(run, customers)[0]


def _summary(
    times: Times, engine: str, servers: int, load: float, relaxation: float, seed: int
) -> Simulation:
    return summary(
        times,
        engine=engine,
        servers=servers,
        load=load,
        stable=load < 1,
        settled=load < 1,
        warmup=times[0].size // (BATCHES + 1),
        relaxation=relaxation,
        seed=seed,
    )


def _long_enough(run: Callable[[int], list[Simulation]], customers: int | None) -> list[Simulation]:
    """The run of a length, or longer and longer ones until all that is stable is precise."""
    if customers is not None:
        return run(whole("customers", customers, least=FEWEST, largest=20_000_000))
    length = _FIRST
    while True:
        found = run(length)
        stable = [each for each in found if each.stable]
        reached = [each.converged and precise(each.estimates, PRECISION) for each in stable]
        if all(reached):
            return found
        if length * _LONGER > HELD:
            return [
                dataclasses.replace(each, converged=each.converged and precise(each.estimates))
                for each in found
            ]
        length *= _LONGER


def _priority_engine(name: str) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    if name == "fast":
        from mm1_planner.engine.priority import simulate_priority

        return simulate_priority
    from mm1_planner.engine.disciplines import simulate_priority_with_simpy

    return _simpy(name, simulate_priority_with_simpy)


def _sharing_engine(name: str) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    if name == "fast":
        from mm1_planner.engine.sharing import simulate_sharing

        return simulate_sharing
    from mm1_planner.engine.disciplines import simulate_sharing_with_simpy

    return _simpy(name, simulate_sharing_with_simpy)


def _batching_engine(name: str) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    if name == "fast":
        from mm1_planner.engine.batching import simulate_batching

        return simulate_batching
    from mm1_planner.engine.disciplines import simulate_batching_with_simpy

    return _simpy(name, simulate_batching_with_simpy)


def _simpy(
    name: str, function: Callable[..., tuple[np.ndarray, np.ndarray]]
) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    if name != "simpy":
        raise BadInput(f"engine is {name!r}; expected 'fast' or 'simpy'")
    return function
