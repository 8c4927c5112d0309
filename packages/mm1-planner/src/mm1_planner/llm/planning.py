"""The fewest replicas of a batching server that keep promises, and how close the cliff is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mfi_command import BadInput
from mm1_planner.inputs import not_negative, positive, whole
from mm1_planner.llm.cliff import TENFOLD, closed_form_cliff_per_s, simulated_cliff
from mm1_planner.llm.closed_form import LlmAnswer, llm_answer
from mm1_planner.llm.iteration import Replica
from mm1_planner.llm.simulation import LlmSimulation, simulate_llm
from mm1_planner.llm.slo import LlmSlo, parse_llm_slo
from mm1_planner.search import fewest
from mm1_planner.streams import ARRIVALS, SERVICES, stream
from mm1_planner.trace import Trace, read_trace

_REQUESTS, _A_REPLICA, _MOST = 20_000, 2_000, 400_000
PROMPTS, OUTPUTS = SERVICES, SERVICES + 8
"""Purposes of the streams that lengths are drawn from."""


@dataclass(frozen=True)
class LlmPlan:
    """How many replicas, and the evidence.

    Attributes
    ----------
    feasible, reason
        Whether some number of replicas keeps every promise, and if not, why none does.
    replicas : int or None
        The fewest that do, in simulation.
    analytic : LlmAnswer or None
        The closed form's means of one of them.
    analytic_replicas : int
        The fewest that the closed form finds stable.
    simulated, fewer : LlmSimulation or None
        With `replicas`, and with one less.
    slos : tuple
        Each promise, its measured value with `replicas` and with one less.
    analytic_cliff_rate_per_s, cliff_rate_per_s : float or None
        The rate at which these replicas miss the first promise tenfold, by the closed form (promises on TTFT
        and E2E) and in simulation (None beyond 8 times the traffic).
    """

    feasible: bool
    reason: str | None
    replicas: int | None
    arrival_rate_per_s: float
    analytic: LlmAnswer | None
    analytic_replicas: int
    simulated: LlmSimulation | None
    fewer: LlmSimulation | None
    slos: tuple[tuple[LlmSlo, float, float], ...]
    analytic_cliff_rate_per_s: float | None
    cliff_rate_per_s: float | None

    @property
    def verdict(self) -> str:
        """All of it in a few sentences."""
        if not self.feasible or self.simulated is None:
            return f"INFEASIBLE: {self.reason}"
        kept = ", ".join(f"{slo} measured {value:.4g}" for slo, value, _ in self.slos)
        who = "1 replica keeps" if self.replicas == 1 else f"{self.replicas} replicas keep"
        sentences = [f"{who} {kept}"]
        missed = [f"{slo} {value:.4g}" for slo, _, value in self.slos if value > slo.limit_s]
        if missed and self.fewer is not None:
            sentences.append(f"with {(self.replicas or 0) - 1}: " + ", ".join(missed))
        if self.cliff_rate_per_s is not None:
            rate, share = self.cliff_rate_per_s, self.cliff_rate_per_s / self.arrival_rate_per_s
            formula = self.analytic_cliff_rate_per_s
            told = "" if formula is None else f" (closed form {formula:.4g})"
            sentences.append(
                f"the cliff (ten times the target) is at {rate:.4g} requests/s{told}, "
                f"{share:.2f} of this traffic"
            )
        else:
            sentences.append("no cliff (ten times the target) up to 8 times this traffic")
        if self.analytic is not None and not self.analytic.declared:
            sentences.append("the closed form is outside its declared range: take the simulated numbers")
        return "; ".join(sentences)

    def to_dict(self) -> dict[str, object]:
        """Plain data with the same names."""
        return {
            "feasible": self.feasible,
            "reason": self.reason,
            "replicas": self.replicas,
            "arrival_rate_per_s": self.arrival_rate_per_s,
            "analytic": self.analytic.to_dict() if self.analytic else None,
            "analytic_replicas": self.analytic_replicas,
            "simulated": self.simulated.to_dict() if self.simulated else None,
            "fewer": self.fewer.to_dict() if self.fewer else None,
            "slos": [
                {"slo": str(slo), "limit_s": slo.limit_s, "measured_s": value, "with_one_less_s": less}
                for slo, value, less in self.slos
            ],
            "analytic_cliff_rate_per_s": self.analytic_cliff_rate_per_s,
            "cliff_rate_per_s": self.cliff_rate_per_s,
            "verdict": self.verdict,
        }


def draw_tokens(text: str | float, count: int, *, seed: int = 0, purpose: int = PROMPTS) -> np.ndarray:
    """Lengths from a law: a number (all equal), `geometric:MEAN`, `lognormal:MEAN:CV`; int64 (count,), >= 1.

    Raises
    ------
    BadInput
        If the law is not one of these.
    """
    kind, *numbers = str(text).strip().lower().split(":")
    try:
        values = [float(number) for number in numbers]
        if not numbers:
            return np.full(count, whole("tokens", float(kind), largest=10**9))  # type: ignore[arg-type]
        mean = positive("mean of the tokens", values[0], largest=1e9)
        if kind == "geometric" and len(values) == 1 and mean >= 1:
            return stream(seed, 0, 0, purpose).geometric(1 / mean, count)
        if kind == "lognormal" and len(values) == 2:
            sigma = math.sqrt(math.log1p(not_negative("cv of the tokens", values[1], largest=1e3) ** 2))
            normal = stream(seed, 0, 0, purpose).standard_normal(count)
            return np.maximum(np.round(mean * np.exp(sigma * normal - sigma * sigma / 2)), 1).astype(np.int64)
    except BadInput:
        raise
    except ValueError:
        pass
    raise BadInput(f"tokens {text!r} are not understood; expected 512, geometric:MEAN or lognormal:MEAN:CV")


def plan_llm(
    *,
    replica: Replica,
    slos: Sequence[str | LlmSlo],
    arrival_rate_per_s: float | None = None,
    prompt_tokens: str | float | np.ndarray | None = None,
    output_tokens: str | float | np.ndarray | None = None,
    trace: str | Path | Trace | None = None,
    routing: str = "round-robin",
    max_replicas: int = 1000,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> LlmPlan:
    """The fewest replicas of a continuously batching server that keep every promise, by simulation.

    Parameters
    ----------
    arrival_rate_per_s : float
        Poisson arrivals at all replicas together; or a trace instead of these three.
    prompt_tokens, output_tokens : str, float or ndarray
        A law (see `draw_tokens`), or measured lengths to draw from, in pairs where both are arrays.
    slos : sequence of str
        Promises such as `p99_ttft<0.5`; all have to hold. Requests that no KV cache can hold count as late.
    trace : Trace or path
        Recorded requests with their lengths, replayed as they came.
    max_replicas : int
        Where the search ends.

    Raises
    ------
    BadInput
        If both or neither of rate and trace are given, or one of them is not understood.
    """
    promises = [parse_llm_slo(slo) for slo in slos]
    if not promises:
        raise BadInput("no promise to keep: give at least one SLO such as p99_ttft<0.5")
    most = whole("max_replicas", max_replicas, largest=10_000)
    work = _traffic(arrival_rate_per_s, prompt_tokens, output_tokens, trace, replica, routing, seed)
    rate = work.rate
    capacity = work.closed_form(1).capacity_per_s
    least = math.floor(rate / capacity) + 1
    asked = (rate, promises)
    if impossible := _alone(work, promises):
        return _infeasible(*asked, least, impossible)
    if least > most:
        return _infeasible(*asked, least, f"{least} replicas are needed to keep up at all, more than {most}")
    tried: dict[int, LlmSimulation] = {}

    def meets(replicas: int) -> bool:
        tried[replicas] = work.simulated(replicas)
        if on_progress:
            on_progress(len(tried), len(tried) + 1)
        return all(promise.measured_s(tried[replicas]) < promise.limit_s for promise in promises)

    found = fewest(meets, low=max(1, least), guess=max(1, math.ceil(1.15 * rate / capacity)), most=most)
    if found is None:
        return _infeasible(
            *asked, least, f"no number of replicas up to {most} keeps the promise in simulation"
        )
    less = tried.get(found - 1) or (work.simulated(found - 1) if found > 1 else None)
    measured = tuple(
        (promise, promise.measured_s(tried[found]), promise.measured_s(less) if less else math.inf)
        for promise in promises
    )
    return LlmPlan(
        True, None, found, rate, work.closed_form(found), least, tried[found], less, measured,
        *_cliffs(work, promises[0], found),
    )  # fmt: skip


def _traffic(
    rate: float | None,
    prompts: str | float | np.ndarray | None,
    outputs: str | float | np.ndarray | None,
    trace: str | Path | Trace | None,
    replica: Replica,
    routing: str,
    seed: int,
) -> _Work:
    if trace is None:
        if rate is None or prompts is None or outputs is None:
            raise BadInput("no traffic: give an arrival rate with prompt and output tokens, or a trace")
        return _Work(positive("arrival rate", rate), prompts, outputs, replica, routing, seed)
    if not (rate is prompts is outputs is None):
        raise BadInput("a trace has its own rate and lengths: give either it or a rate with tokens")
    recorded = trace if isinstance(trace, Trace) else read_trace(trace)
    measured = recorded.lengths()
    return _Work(recorded.rate_per_s, *measured, replica, routing, seed, recorded.arrivals_s)


@dataclass(frozen=True)
class _Work:
    rate: float
    prompts: str | float | np.ndarray
    outputs: str | float | np.ndarray
    replica: Replica
    routing: str
    seed: int
    arrivals_s: np.ndarray | None = None

    def lengths(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        if isinstance(self.prompts, np.ndarray) and isinstance(self.outputs, np.ndarray):
            rows = stream(self.seed, 0, 0, PROMPTS).integers(0, self.prompts.size, count)
            return self.prompts[rows], self.outputs[rows % self.outputs.size]
        sides = ((self.prompts, PROMPTS), (self.outputs, OUTPUTS))
        prompts, outputs = (
            stream(self.seed, 0, 0, purpose).choice(side, count)
            if isinstance(side, np.ndarray)
            else draw_tokens(side, count, seed=self.seed, purpose=purpose)
            for side, purpose in sides
        )
        return prompts, outputs

    def closed_form(self, replicas: int) -> LlmAnswer:
        return llm_answer(self.rate / replicas, *self.lengths(_REQUESTS), self.replica)

    def simulated(self, replicas: int, *, faster: float = 1.0) -> LlmSimulation:
        if self.arrivals_s is not None:
            # Each of the recorded requests was somebody's: none is warm-up.
            return simulate_llm(
                self.arrivals_s / faster, self.prompts, self.outputs, self.replica,  # type: ignore[arg-type]
                replicas=replicas, routing=self.routing, seed=self.seed,
            )  # fmt: skip
        count = min(max(_REQUESTS, _A_REPLICA * replicas), _MOST)
        gaps = stream(self.seed, 0, 0, ARRIVALS).standard_exponential(count) / (self.rate * faster)
        return simulate_llm(
            np.cumsum(gaps), *self.lengths(count), self.replica,
            replicas=replicas, routing=self.routing, warmup=count // 20, seed=self.seed,
        )  # fmt: skip


def _alone(work: _Work, promises: list[LlmSlo]) -> str | None:
    """Why not even a replica for each request would do: each is served by itself, nothing waits."""
    prompts, outputs = work.lengths(2000)
    slowest = work.replica.iteration_s(1, int(prompts.max() + outputs.max()), work.replica.token_budget)
    longest = (outputs.max() + prompts.max() / work.replica.token_budget + 2) * slowest
    run = simulate_llm(np.arange(2000) * float(longest), prompts, outputs, work.replica)
    for promise in promises:
        best = promise.measured_s(run)
        if best >= promise.limit_s:
            why = (
                "the KV cache holds too few of the requests"
                if math.isinf(best)
                else f"a request alone gives {best:.4g} s"
            )
            return f"{promise}: {why}, and no number of replicas shortens that"
    return None


def _cliffs(work: _Work, promise: LlmSlo, replicas: int) -> tuple[float | None, float | None]:
    """Arrivals per second at which the promise is missed tenfold: closed form, simulation."""
    alone = closed_form_cliff_per_s(promise, *work.lengths(_REQUESTS), work.replica)
    formula = None if alone is None else alone * replicas
    times = simulated_cliff(
        lambda faster: (
            promise.measured_s(work.simulated(replicas, faster=faster)) >= TENFOLD * promise.limit_s
        ),
        None if formula is None else formula / work.rate,
    )
    return formula, None if times is None else work.rate * times


def _infeasible(rate: float, promises: list[LlmSlo], least: int, reason: str) -> LlmPlan:
    slos = tuple((promise, math.inf, math.inf) for promise in promises)
    return LlmPlan(False, reason, None, rate, None, least, None, None, slos, None, None)
