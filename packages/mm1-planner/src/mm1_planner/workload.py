"""The requests that a plan is tried on: drawn, or replayed from a trace."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from mfi_command import BadInput
from mm1_planner.arrivals import Arrivals
from mm1_planner.expression import column_names, evaluate
from mm1_planner.inputs import parse_seconds
from mm1_planner.intervals import Estimate, of_batches, percentiles
from mm1_planner.models.answer import LEVELS
from mm1_planner.service import FORMS, Empirical, Service, parse_service
from mm1_planner.simulation import BATCHES, Simulation, measure, relaxation_customers
from mm1_planner.slo import Slo
from mm1_planner.streams import ARRIVALS, PATIENCE, SERVICES, stream
from mm1_planner.trace import Trace


@dataclass(frozen=True)
class Limits:
    """What makes requests leave unserved: a full queue, or an end to their patience.

    Attributes
    ----------
    places : int or None
        Most requests waiting; one more is turned away. Unlimited by default.
    patience_s : float or None
        Mean of the exponential time after which a waiting request gives up. Endless by default.
    """

    places: int | None = None
    patience_s: float | None = None

    def __bool__(self) -> bool:
        return self.places is not None or self.patience_s is not None


NO_LIMITS = Limits()


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
    limits : Limits
        Why requests may leave unserved; those count as late without end.
    memory : float
        Requests over which the arrivals remember, beyond a gap.
    """

    gaps_s: np.ndarray
    services_s: np.ndarray
    offered_load: float
    scv: float
    warmup: int
    endless: bool
    seed: int
    limits: Limits = NO_LIMITS
    memory: float = 0.0
    tried: dict[int, Simulation] = field(default_factory=dict, repr=False)
    counted: dict[int, dict[str, Estimate]] = field(default_factory=dict, repr=False)

    @property
    def fewest_servers(self) -> int:
        """The smallest number worth a try."""
        return math.floor(self.offered_load) + 1 if self.endless and not self.limits else 1

    def at(self, servers: int) -> Simulation:
        """The measurements with so many servers."""
        if servers not in self.tried:
            load = self.offered_load / servers
            relaxation = relaxation_customers(load, servers, self.scv) + self.memory if self.endless else 0.0
            self.tried[servers] = measure(
                self.gaps_s,
                self.services_s,
                servers,
                load=load,
                capacity=self._capacity(servers),
                patience_s=self._patience(),
                warmup=self.warmup,
                relaxation=0.0 if self.limits else relaxation,
                seed=self.seed,
            )
        return self.tried[servers]

    def estimate(self, servers: int, slo: Slo) -> Estimate:
        """The promised metric, where a request that left unserved counts as one that takes for ever."""
        if not self.limits:
            return self.at(servers).estimates[slo.metric]
        if servers not in self.counted:
            self.counted[servers] = self._count(servers)
        return self.counted[servers][slo.metric]

    def keeps(self, servers: int, slos: tuple[Slo, ...]) -> bool:
        """Whether every promise holds."""
        return all(self.estimate(servers, slo).value < slo.limit_s for slo in slos)

    def faster(self, factor: float) -> Workload:
        """The same requests arriving `factor` times as fast."""
        return replace(
            self,
            gaps_s=self.gaps_s / factor,
            offered_load=self.offered_load * factor,
            tried={},
            counted={},
        )

    def slower_service(self, factor: float) -> Workload:
        """The same requests, each taking `factor` times as long."""
        return replace(
            self,
            services_s=self.services_s * factor,
            offered_load=self.offered_load * factor,
            tried={},
            counted={},
        )

    def _capacity(self, servers: int) -> int | None:
        return None if self.limits.places is None else servers + self.limits.places

    def _patience(self) -> np.ndarray | None:
        if self.limits.patience_s is None:
            return None
        generator = stream(self.seed, 0, 0, PATIENCE)
        return generator.standard_exponential(self.gaps_s.size) * self.limits.patience_s

    def _count(self, servers: int) -> dict[str, Estimate]:
        from mm1_planner.engine.fast import simulate_fast

        capacity, patience = self._capacity(servers), self._patience()
        times = simulate_fast(self.gaps_s, self.services_s, servers, capacity, patience)
        found: dict[str, Estimate] = {}
        for name, values in zip(("wait", "sojourn"), times, strict=True):
            late = np.where(np.isnan(values), np.inf, values)[self.warmup :]
            edges = np.linspace(0, late.size, BATCHES + 1).astype(int)
            found |= estimates_of([late[low:high] for low, high in pairwise(edges)], name)
        return found


def estimates_of(batches: list[np.ndarray], name: str) -> dict[str, Estimate]:
    """Mean and percentiles of `name` (`wait`, `sojourn`); one infinite time makes the mean infinite."""
    pooled = percentiles(batches, list(LEVELS.values()))
    found: dict[str, Estimate] = {
        f"{level}_{name}_s": estimate for level, estimate in zip(LEVELS, pooled, strict=True)
    }
    if all(np.isfinite(batch).all() for batch in batches):
        means = np.array([batch.mean() for batch in batches if batch.size])
        found[f"mean_{name}_s"] = of_batches(float(np.concatenate(batches).mean()), means)
    else:
        found[f"mean_{name}_s"] = Estimate(math.inf, math.nan, len(batches))
    return found


def drawn(
    traffic: Arrivals, law: Service, customers: int, *, seed: int, limits: Limits = NO_LIMITS
) -> Workload:
    """Arrivals of a stationary stream with independent service times."""
    gaps = traffic.gaps(stream(seed, 0, 0, ARRIVALS))(customers)
    services = law.sample(stream(seed, 0, 0, SERVICES), customers)
    rate = traffic.rate_per_s
    return Workload(
        gaps,
        services,
        rate * law.mean_s,
        law.scv,
        customers // (BATCHES + 1),
        True,
        seed,
        limits,
        rate * traffic.memory_s,
    )


def replayed(trace: Trace, services_s: np.ndarray, *, seed: int, limits: Limits = NO_LIMITS) -> Workload:
    """The arrivals of a trace, each with its service time."""
    mean = float(services_s.mean())
    scv = float(services_s.var()) / mean**2
    return Workload(trace.gaps_s, services_s, trace.rate_per_s * mean, scv, 0, False, seed, limits)


def service_of_trace(text: str | float | Service, trace: Trace, *, seed: int) -> tuple[Service, np.ndarray]:
    """The law of the service times over a trace, and the time of each request.

    `text` is a law, as for `parse_service`, drawn independently for each request; or an expression over the
    trace's columns, such as `0.05 + 0.02*GeneratedTokens`. A column whose name is no word is written with
    `_` for what is neither letter nor digit: `Response_tokens`.

    Raises
    ------
    BadInput
        If it is neither, or no request takes any time.
    """
    if not isinstance(text, str) or not is_expression(text):
        law = parse_service(text)
        return law, law.sample(stream(seed, 0, 0, SERVICES), trace.requests)
    words = {re.sub(r"\W", "_", name): name for name in trace.texts}
    columns = {name: trace.column(words.get(name, name)) for name in column_names(text)}
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
