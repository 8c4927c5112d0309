"""The search behind a plan: what is asked, what cannot be, and the fewest servers by each method."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from mm1_planner.arrivals import Arrivals, Mmpp, Renewal, poisson
from mm1_planner.models.answer import Answer
from mm1_planner.models.choice import answer_of, answer_to, is_poisson
from mm1_planner.search import fewest
from mm1_planner.service import Constant, Exponential, Service
from mm1_planner.simulation import Simulation, customers_needed
from mm1_planner.slo import Slo
from mm1_planner.workload import Limits, Workload, drawn

_FIRST_LENGTH, _LAST_LENGTH = 500_000, 2_000_000


@dataclass(frozen=True)
class Question:
    """What is asked, parsed."""

    slos: tuple[Slo, ...]
    traffic: Arrivals
    law: Service
    least: int
    most: int
    seed: int
    customers: int | None
    limits: Limits
    answers: dict[int, Answer] = field(default_factory=dict, repr=False, compare=False)

    @property
    def rate_per_s(self) -> float:
        """Arrivals per second."""
        return self.traffic.rate_per_s

    @property
    def poisson(self) -> bool:
        """Whether the arrivals asked for are Poisson."""
        return is_poisson(self.traffic)

    @property
    def exact(self) -> bool:
        """Whether the formula is exact for any number of servers."""
        known = isinstance(self.traffic, Renewal | Mmpp) and isinstance(self.law, Exponential)
        return not self.limits and (known or (self.poisson and isinstance(self.law, Constant)))

    @property
    def quick(self) -> bool:
        """Whether the formula takes no more than milliseconds, for any number of servers."""
        renewal = isinstance(self.traffic, Renewal) and isinstance(self.law, Exponential)
        return renewal or (self.poisson and isinstance(self.law, Constant))

    def formula(self, servers: int) -> Answer:
        """The best formula's answer for these arrivals; kept, since some take a while."""
        if servers not in self.answers:
            self.answers[servers] = answer_to(self.traffic, self.law, servers)
        return self.answers[servers]

    def known(self, servers: int, metric: str) -> float:
        """A metric by formula where that is quick or was computed before; NaN elsewhere."""
        if not self.quick and servers not in self.answers:
            return math.nan
        return float(getattr(self.formula(servers), metric))

    def with_poisson(self) -> Question:
        """The same question for Poisson arrivals of the same rate."""
        return self if self.poisson else replace(self, traffic=poisson(self.rate_per_s), answers={})

    @property
    def load(self) -> float:
        """Servers busy on average."""
        return self.rate_per_s * self.law.mean_s

    def alone_s(self, slo: Slo) -> float:
        """The promised metric with no wait at all: what endless servers would reach."""
        if not slo.includes_service:
            return 0.0
        if slo.level is None:
            return self.law.mean_s
        return float(self.law.quantile(np.array([slo.level]))[0])


@dataclass(frozen=True)
class Found:
    """The outcome of a search on one workload."""

    servers: int | None
    workload: Workload

    @property
    def one_less(self) -> Simulation | None:
        """The run with one server less; None where that is no queue or has no steady state."""
        less = (self.servers or 0) - 1
        return self.workload.at(less) if less >= self.workload.fewest_servers else None

    def settled(self, slos: tuple[Slo, ...]) -> bool:
        """Whether intervals say that each promise holds at the answer and that one fails with one less."""
        if self.servers is None:
            return True
        here = [(self.workload.estimate(self.servers, slo).interval()[1], slo) for slo in slos]
        # Asked this way, an interval that is not known (NaN) does not settle anything.
        if not all(high < slo.limit_s for high, slo in here):
            return False
        if self.one_less is None:
            return True
        return any(slo.limit_s < self.workload.estimate(self.servers - 1, slo).interval()[0] for slo in slos)


def binding(slos: tuple[Slo, ...], workload: Workload, servers: int) -> Slo:
    """The promise that is closest to its limit, or furthest beyond it."""
    return max(slos, key=lambda slo: workload.estimate(servers, slo).value / slo.limit_s)


def impossible(question: Question) -> str | None:
    """Why no number of servers can keep a promise, known before any search."""
    for slo in question.slos:
        alone = question.alone_s(slo)
        if alone >= slo.limit_s:
            name = slo.metric.partition("_")[0]
            return (
                f"the {name} of the service alone is {alone:.4g} s, the limit is {slo.limit_s:g} s: "
                "no number of servers helps, shorten the service"
            )
    if question.load >= question.most and not question.limits:
        return (
            f"the work alone keeps {question.load:.6g} servers busy, the most allowed is {question.most}: "
            "raise --max-servers or shed load"
        )
    return None


def not_found(question: Question, found: Found) -> str:
    """Why a search ended without an answer."""
    worst = binding(question.slos, found.workload, question.most)
    value = found.workload.estimate(question.most, worst).value
    still = (
        f"still {value:.4g} s" if math.isfinite(value) else "still endless, since too many leave unserved,"
    )
    return f"with the {question.most} servers allowed {worst.metric} is {still} in simulation"


def first_guess(question: Question) -> int:
    """About how many servers, by the quickest formula there is for Poisson arrivals."""
    least = max(math.floor(question.load) + 1, question.least)
    found = fewest(
        lambda n: _keeps(question, answer_of(question.rate_per_s, question.law, n)),
        low=least,
        guess=least + math.isqrt(least),
        most=question.most,
    )
    return found or least


def search_formula(question: Question, guess: int) -> int | None:
    """The fewest servers by formula; None where it says to simulate or does not count who leaves unserved."""
    if question.limits or "simulate" in question.formula(max(guess, math.floor(question.load) + 1)).method:
        return None
    return fewest(
        lambda n: _keeps(question, question.formula(n)),
        low=max(math.floor(question.load) + 1, question.least),
        guess=guess,
        most=question.most,
    )


def _keeps(question: Question, answer: Answer) -> bool:
    return all(getattr(answer, slo.metric) < slo.limit_s for slo in question.slos)


def search(question: Question, workload: Workload, guess: int) -> Found:
    """The fewest servers in simulation; waits shrink with every server, customer by customer."""
    servers = fewest(
        lambda n: workload.keeps(n, question.slos),
        low=max(workload.fewest_servers, question.least),
        guess=guess,
        most=question.most,
    )
    return Found(servers, workload)


def search_drawn(question: Question, guess: int, *, settle: bool = True) -> Found:
    """The fewest servers for simulated arrivals; to `settle` it, in runs long enough to tell."""
    length = question.customers
    if length is None:
        needed = customers_needed(question.load / guess, guess, question.law.scv)
        length = min(needed, _FIRST_LENGTH)
    found = search(question, _workload(question, length), guess)
    long_enough = not settle or question.customers is not None
    while not long_enough and length < _LAST_LENGTH and not found.settled(question.slos):
        length = min(4 * length, _LAST_LENGTH)
        found = search(question, _workload(question, length), found.servers or guess)
    return found


def _workload(question: Question, customers: int) -> Workload:
    return drawn(question.traffic, question.law, customers, seed=question.seed, limits=question.limits)
