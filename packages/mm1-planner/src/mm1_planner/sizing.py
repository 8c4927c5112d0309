"""The search behind a plan: what is asked, what cannot be, and the fewest servers by each method."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mm1_planner.models.answer import Answer
from mm1_planner.models.choice import answer_of
from mm1_planner.search import fewest
from mm1_planner.service import Constant, Exponential, Service
from mm1_planner.simulation import Simulation, customers_needed
from mm1_planner.slo import Slo
from mm1_planner.workload import Workload, drawn

_FIRST_LENGTH, _LAST_LENGTH = 500_000, 2_000_000


@dataclass(frozen=True)
class Question:
    """What is asked, parsed."""

    slo: Slo
    rate_per_s: float
    law: Service
    most: int
    seed: int
    customers: int | None

    @property
    def exact(self) -> bool:
        """Whether the formula is exact for any number of servers."""
        return isinstance(self.law, Exponential | Constant)

    def formula(self, servers: int) -> Answer:
        """The formula's answer for Poisson arrivals: exact for exponential and constant service."""
        return answer_of(self.rate_per_s, self.law, servers)

    def value(self, answer: Answer) -> float:
        """The promised metric of an answer, seconds."""
        return float(getattr(answer, self.slo.metric))

    @property
    def load(self) -> float:
        """Servers busy on average."""
        return self.rate_per_s * self.law.mean_s

    @property
    def law_alone_s(self) -> float:
        """The promised metric with no wait at all: what endless servers would reach."""
        if not self.slo.includes_service:
            return 0.0
        if self.slo.level is None:
            return self.law.mean_s
        return float(self.law.quantile(np.array([self.slo.level]))[0])


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

    def settled(self, slo: Slo) -> bool:
        """Whether the intervals at the answer and at one less are both known to leave the limit out."""
        if self.servers is None:
            return True
        tried = [self.workload.at(self.servers), self.one_less]
        intervals = [run.estimates[slo.metric].interval() for run in tried if run is not None]
        # Asked this way, an interval that is not known (NaN) does not settle anything.
        return all(slo.limit_s < low or high < slo.limit_s for low, high in intervals)


def impossible(question: Question) -> str | None:
    """Why no number of servers can keep the promise, known before any search."""
    alone = question.law_alone_s
    if alone >= question.slo.limit_s:
        name = question.slo.metric.partition("_")[0]
        return (
            f"the {name} of the service alone is {alone:.4g} s, the limit is {question.slo.limit_s:g} s: "
            "no number of servers helps, shorten the service"
        )
    if question.load >= question.most:
        return (
            f"the work alone keeps {question.load:.6g} servers busy, the most allowed is {question.most}: "
            "raise --max-servers or shed load"
        )
    return None


def not_found(question: Question, found: Found) -> str:
    """Why a search ended without an answer."""
    value = found.workload.at(question.most).estimates[question.slo.metric].value
    return (
        f"with the {question.most} servers allowed {question.slo.metric} is still {value:.4g} s in simulation"
    )


def search_formula(question: Question) -> int | None:
    """The fewest servers by the formula."""
    low = math.floor(question.load) + 1
    guess = low + math.isqrt(low)
    limit = question.slo.limit_s
    return fewest(
        lambda n: question.value(question.formula(n)) < limit, low=low, guess=guess, most=question.most
    )


def search(question: Question, workload: Workload, guess: int) -> Found:
    """The fewest servers in simulation; waits shrink with every server, customer by customer."""
    metric, limit = question.slo.metric, question.slo.limit_s
    servers = fewest(
        lambda n: workload.at(n).estimates[metric].value < limit,
        low=workload.fewest_servers,
        guess=guess,
        most=question.most,
    )
    return Found(servers, workload)


def search_poisson(question: Question, guess: int) -> Found:
    """The fewest servers for simulated Poisson arrivals, in runs long enough to tell."""
    length = question.customers
    if length is None:
        needed = customers_needed(question.load / guess, guess, question.law.scv)
        length = min(needed, _FIRST_LENGTH)
    found = search(question, drawn(question.rate_per_s, question.law, length, seed=question.seed), guess)
    while question.customers is None and length < _LAST_LENGTH and not found.settled(question.slo):
        length = min(4 * length, _LAST_LENGTH)
        workload = drawn(question.rate_per_s, question.law, length, seed=question.seed)
        found = search(question, workload, found.servers or guess)
    return found
