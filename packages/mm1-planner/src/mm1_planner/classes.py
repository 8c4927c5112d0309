"""Several kinds of traffic on one pool of servers, each with promises of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mfi_command import BadInput
from mm1_planner.arrivals import Arrivals, parse_arrivals, poisson
from mm1_planner.cost import cost_of
from mm1_planner.inputs import not_negative, parse_rate_per_s, positive, whole
from mm1_planner.intervals import Estimate
from mm1_planner.models.choice import answer_of, answer_to
from mm1_planner.plans import Kept
from mm1_planner.search import fewest
from mm1_planner.service import Service, gamma_service, parse_service
from mm1_planner.simulation import BATCHES, FEWEST, MOST
from mm1_planner.slo import Slo, parse_slos
from mm1_planner.streams import ARRIVALS, SERVICES, stream
from mm1_planner.workload import estimates_of

_CUSTOMERS = 400_000
DISCIPLINES = ("fcfs", "priority")


@dataclass(frozen=True)
class TrafficClass:
    """A kind of request.

    Attributes
    ----------
    name : str
        For messages.
    arrivals : Arrivals
        How and how often they come.
    service : Service
        How long one keeps a server.
    slos : tuple of Slo
        What they are promised.
    """

    name: str
    arrivals: Arrivals
    service: Service
    slos: tuple[Slo, ...]


@dataclass(frozen=True)
class ClassKept(Kept):
    """A promise to one class, as `Kept`; the formula is for waits in order of arrival.

    Attributes
    ----------
    name : str
        The class.
    """

    name: str


@dataclass(frozen=True)
class ClassesPlan:
    """How many servers keep the promises to every class.

    Attributes
    ----------
    feasible, reason, servers
        As in `Plan`.
    discipline : str
        `fcfs`, or `priority`: the classes in the order given, without interrupting a service.
    offered_load : float
        Servers busy on average.
    kept : tuple of ClassKept
        Each promise with its numbers.
    separate : dict
        The fewest servers for each class on a pool of its own, by formula (None where there is none).
    cost : dict or None
        As in `Plan`.
    verdict : str
        All of it in a few sentences.
    """

    feasible: bool
    reason: str | None
    servers: int | None
    discipline: str
    offered_load: float
    kept: tuple[ClassKept, ...]
    separate: dict[str, int | None]
    cost: dict[str, float] | None
    verdict: str

    def to_dict(self) -> dict[str, object]:
        """Plain data with the same names."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return values | {"kept": [vars(each) for each in self.kept]}


def parse_class(text: str) -> TrafficClass:
    """A class from `NAME=RATE;SERVICE;SLO[;ARRIVALS]`; several SLOs are divided by commas.

    Raises
    ------
    BadInput
        If the text has another form.

    Examples
    --------
    >>> parse_class("chat=40/s;exp:0.3;p99_wait<0.5, mean_wait<0.1").slos[1].metric
    'mean_wait_s'
    """
    name, equals, rest = text.partition("=")
    parts = [part.strip() for part in rest.split(";")]
    if not equals or not name.strip() or len(parts) not in (3, 4):
        raise BadInput(
            f"class {text!r} is not understood; expected NAME=RATE;SERVICE;SLO, such as "
            "chat=40/s;exp:0.3;p99_wait<0.5"
        )
    rate = parse_rate_per_s("rate of the class", parts[0])
    arrivals = parse_arrivals(parts[3] if len(parts) == 4 else "poisson", rate)
    return TrafficClass(name.strip(), arrivals, parse_service(parts[1]), parse_slos(parts[2]))


def plan_classes(
    classes: Sequence[TrafficClass | str],
    *,
    discipline: str = "fcfs",
    max_servers: int = 10_000,
    customers: int | None = None,
    cost_per_server_hour: float | None = None,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> ClassesPlan:
    """The fewest servers on which every class of requests gets what it is promised.

    Parameters
    ----------
    classes : sequence of TrafficClass or str
        As for `parse_class`; for priorities the most urgent first.
    discipline : {"fcfs", "priority"}
        In order of arrival, or the most urgent class first, without interrupting a service.
    max_servers, customers, cost_per_server_hour, seed, on_progress
        As for `plan`; by default 400,000 requests of all classes together are simulated.

    Raises
    ------
    BadInput
        If an input is out of range or not understood.

    Examples
    --------
    >>> both = ["chat=6/s;exp:0.3;p99_wait<0.5", "batch=1/s;det:2;p90_wait<5"]
    >>> plan_classes(both, customers=50_000).servers
    8
    """
    kinds = [each if isinstance(each, TrafficClass) else parse_class(each) for each in classes]
    if not kinds or len({kind.name for kind in kinds}) < len(kinds):
        raise BadInput(f"{len(kinds)} classes given, two with one name or none; name each once")
    if discipline not in DISCIPLINES:
        raise BadInput(f"discipline is {discipline!r}; expected fcfs or priority")
    most = whole("max servers", max_servers)
    price = None if cost_per_server_hour is None else not_negative("cost", cost_per_server_hour, largest=1e9)
    length = whole("customers", _CUSTOMERS if customers is None else customers, least=FEWEST, largest=MOST)
    load = sum(kind.arrivals.rate_per_s * kind.service.mean_s for kind in kinds)
    separate = {kind.name: _alone(kind, most) for kind in kinds}
    reason = _impossible(kinds, load, most)
    if reason is not None:
        return _infeasible(reason, discipline, load, separate)
    pool = _Pool(kinds, discipline, length, seed)

    def keeps(servers: int) -> bool:
        if on_progress:
            on_progress(len(pool.tried), len(pool.tried) + 1)
        return all(
            pool.estimate(servers, kind, slo).value < slo.limit_s for kind in kinds for slo in kind.slos
        )

    low = math.floor(load) + 1
    servers = fewest(keeps, low=low, guess=low + math.isqrt(low), most=most)
    if servers is None:
        return _infeasible(
            f"with the {most} servers allowed a promise is still missed in simulation",
            discipline, load, separate,
        )  # fmt: skip
    kept = tuple(_kept(pool, servers, kind, slo, low) for kind in kinds for slo in kind.slos)
    rate = sum(kind.arrivals.rate_per_s for kind in kinds)
    return ClassesPlan(
        True, None, servers, discipline, load, kept, separate,
        None if price is None else cost_of(servers, rate, price),
        _verdict(servers, kept, separate),
    )  # fmt: skip


class _Pool:
    """The merged requests of all classes, tried on numbers of servers."""

    def __init__(self, kinds: Sequence[TrafficClass], discipline: str, length: int, seed: int) -> None:
        self.discipline = discipline
        rate = sum(kind.arrivals.rate_per_s for kind in kinds)
        times, services, labels = [], [], []
        for number, kind in enumerate(kinds):
            # A scenario of its own for each class: its draws do not depend on the others.
            count = max(2, math.ceil(length * kind.arrivals.rate_per_s / rate))
            gaps = kind.arrivals.gaps(stream(seed, number, 0, ARRIVALS))
            times.append(np.cumsum(gaps(count)))
            services.append(kind.service.sample(stream(seed, number, 0, SERVICES), count))
            labels.append(np.full(count, number, dtype=np.int64))
        # Until the first stream runs dry: beyond it the mix would be another.
        end = min(float(each[-1]) for each in times)
        merged = np.concatenate(times)
        order = np.argsort(merged, kind="stable")[: int((merged <= end).sum())]
        self.gaps_s = np.diff(merged[order], prepend=0.0)
        self.services_s = np.concatenate(services)[order]
        self.labels = np.concatenate(labels)[order]
        self.numbers = {kind.name: number for number, kind in enumerate(kinds)}
        self.tried: dict[int, list[dict[str, Estimate]]] = {}

    def estimate(self, servers: int, kind: TrafficClass, slo: Slo) -> Estimate:
        """A class's metric with so many servers."""
        if servers not in self.tried:
            self.tried[servers] = self._measure(servers)
        return self.tried[servers][self.numbers[kind.name]][slo.metric]

    def _measure(self, servers: int) -> list[dict[str, Estimate]]:
        from mm1_planner.engine.fast import simulate_fast
        from mm1_planner.engine.priority import simulate_priority

        if self.discipline == "fcfs":
            times = simulate_fast(self.gaps_s, self.services_s, servers)
        else:
            times = simulate_priority(self.gaps_s, self.services_s, self.labels, servers)
        warmup = self.gaps_s.size // (BATCHES + 1)
        edges = np.linspace(warmup, self.gaps_s.size, BATCHES + 1).astype(int)
        return [
            {
                name: estimate
                for what, values in zip(("wait", "sojourn"), times, strict=True)
                for name, estimate in estimates_of(
                    [values[low:high][self.labels[low:high] == number] for low, high in pairwise(edges)], what
                ).items()
            }
            for number in self.numbers.values()
        ]


def _alone(kind: TrafficClass, most: int) -> int | None:
    """Servers for one class on a pool of its own, by the formula for Poisson arrivals."""
    rate, low = kind.arrivals.rate_per_s, math.floor(kind.arrivals.rate_per_s * kind.service.mean_s) + 1

    def keeps(servers: int) -> bool:
        answer = answer_of(rate, kind.service, servers)
        return all(getattr(answer, slo.metric) < slo.limit_s for slo in kind.slos)

    return fewest(keeps, low=low, guess=low + math.isqrt(low), most=min(most, low + 10_000))


def _impossible(kinds: Sequence[TrafficClass], load: float, most: int) -> str | None:
    for kind in kinds:
        for slo in kind.slos:
            level = kind.service.mean_s
            if slo.level is not None:
                level = float(kind.service.quantile(np.array([slo.level]))[0])
            if slo.includes_service and level >= slo.limit_s:
                return (
                    f"{kind.name}: the service alone is {level:.4g} s, the limit {slo.limit_s:g} s: "
                    "no number of servers helps"
                )
    if load >= most:
        return f"the work of all classes keeps {load:.6g} servers busy, the most allowed is {most}"
    return None


def _kept(pool: _Pool, servers: int, kind: TrafficClass, slo: Slo, low: int) -> ClassKept:
    estimate = pool.estimate(servers, kind, slo)
    less = pool.estimate(servers - 1, kind, slo).value if servers > low else math.inf
    formula = None
    if pool.discipline == "fcfs" and not slo.includes_service:
        # In order of arrival every class waits alike: as in M/G/c with the mixture's two moments.
        mean, variance = float(pool.services_s.mean()), float(pool.services_s.var())
        law = gamma_service(positive("mean", mean), variance / mean**2)
        rate = pool.gaps_s.size / float(pool.gaps_s.sum())
        formula = float(getattr(answer_to(poisson(rate), law, servers), slo.metric))
    return ClassKept(
        str(slo), slo.metric, slo.limit_s, formula, estimate.value, *estimate.interval(), less, kind.name
    )


def _infeasible(reason: str, discipline: str, load: float, separate: dict[str, int | None]) -> ClassesPlan:
    return ClassesPlan(False, reason, None, discipline, load, (), separate, None, f"INFEASIBLE: {reason}")


def _verdict(servers: int, kept: tuple[ClassKept, ...], separate: dict[str, int | None]) -> str:
    told = [f"{each.name} {each.slo} measured {each.simulated_s:.4g}" for each in kept]
    parts = [f"{servers} servers keep {', '.join(told)}"]
    missed = [
        f"{each.name} {each.with_one_less_s:.4g}" for each in kept if each.with_one_less_s >= each.limit_s
    ]
    if missed and servers > 1:
        parts.append(f"with {servers - 1}: {', '.join(missed)}")
    if all(count is not None for count in separate.values()):
        total = sum(count or 0 for count in separate.values())
        parts.append(f"pools of their own would take {total} by formula")
    return "; ".join(parts)
