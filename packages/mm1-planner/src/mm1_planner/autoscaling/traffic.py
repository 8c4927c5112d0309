"""What an autoscaling study runs: requests on plain servers, or on replicas that batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from mm1_planner.autoscaling.laws import Scaler
from mm1_planner.autoscaling.simulation import Autoscaled, Floor, autoscale, autoscale_llm
from mm1_planner.llm.closed_form import llm_answer
from mm1_planner.llm.iteration import Replica
from mm1_planner.llm.simulation import simulate_llm
from mm1_planner.llm.slo import LlmSlo
from mm1_planner.models.choice import answer_of
from mm1_planner.search import fewest
from mm1_planner.service import Service
from mm1_planner.slo import Slo

_REQUESTS, _WARMUP, _HALVINGS = 6_000, 600, 9


class Traffic(Protocol):
    """Requests, and the replicas that a steady rate of them needs."""

    @property
    def arrivals_s(self) -> np.ndarray: ...
    @property
    def mean_service_s(self) -> float: ...
    def needed(self, rate_per_s: float, most: int) -> int: ...
    def run(
        self, scaler: Scaler, *, schedule: Sequence[Floor] = (), initial: int | None = None
    ) -> Autoscaled: ...


@dataclass(frozen=True)
class PlainTraffic:
    """Requests with their service times, on replicas that serve `slots` at a time."""

    arrivals_s: np.ndarray
    services_s: np.ndarray
    law: Service
    slo: Slo
    slots: int = 1

    @property
    def mean_service_s(self) -> float:
        """Of the law."""
        return self.law.mean_s

    def needed(self, rate_per_s: float, most: int) -> int:
        """Of the formula."""
        return servers_for(rate_per_s, self.law, self.slo, most)

    def run(
        self, scaler: Scaler, *, schedule: Sequence[Floor] = (), initial: int | None = None
    ) -> Autoscaled:
        """Under a scaler."""
        return autoscale(self.arrivals_s, self.services_s, scaler, self.slo,
                         schedule=schedule, initial=initial, slots=self.slots)  # fmt: skip


@dataclass
class BatchingTraffic:
    """Requests with their lengths, on replicas of a language model."""

    arrivals_s: np.ndarray
    prompts: np.ndarray
    outputs: np.ndarray
    replica: Replica
    slo: LlmSlo
    seed: int = 0
    _held: float | None = field(default=None, repr=False)

    @property
    def mean_service_s(self) -> float:
        """Of a request alone."""
        prompt, decodes = float(self.prompts.mean()), float(self.outputs.mean()) - 1
        first = self.replica.iteration_s(0, 0, round(prompt))
        return first + decodes * self.replica.iteration_s(1, round(prompt + decodes / 2), 0)

    def needed(self, rate_per_s: float, most: int) -> int:
        """By the highest rate that one replica holds in simulation; several share their arrivals better."""
        if rate_per_s <= 0:
            return 0
        if self._held is None:
            self._held = self._rate_held()
        return most if self._held <= 0 else min(math.ceil(rate_per_s / self._held), most)

    def run(
        self, scaler: Scaler, *, schedule: Sequence[Floor] = (), initial: int | None = None
    ) -> Autoscaled:
        """Under a scaler."""
        return autoscale_llm(self.arrivals_s, self.prompts, self.outputs, self.replica, scaler, self.slo,
                             schedule=schedule, initial=initial)  # fmt: skip

    def _rate_held(self) -> float:
        rng = np.random.default_rng([self.seed, self.prompts.size])
        rows = rng.integers(0, self.prompts.size, _REQUESTS)
        units = np.cumsum(rng.exponential(1.0, _REQUESTS))

        def holds(rate: float) -> bool:
            run = simulate_llm(
                units / rate, self.prompts[rows], self.outputs[rows], self.replica, warmup=_WARMUP
            )
            return self.slo.measured_s(run) < self.slo.limit_s

        low, high = 0.0, llm_answer(1 / units[-1], self.prompts, self.outputs, self.replica).capacity_per_s
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if holds(middle) else (low, middle)
        return low


def servers_for(rate_per_s: float, law: Service, slo: Slo, most: int) -> int:
    """The fewest servers by formula for a steady rate; `most` if none up to there do."""
    if rate_per_s <= 0:
        return 0
    low = math.floor(rate_per_s * law.mean_s) + 1
    found = fewest(
        lambda n: float(getattr(answer_of(rate_per_s, law, n), slo.metric)) < slo.limit_s,
        low=low,
        guess=low + math.isqrt(low),
        most=most,
    )
    return most if found is None else found
