"""A queue under an autoscaler: who kept the promise, what it cost, how often it turned back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from mfi_command import BadInput
from mm1_planner.autoscaling.laws import Controller, Scaler
from mm1_planner.inputs import positive, whole
from mm1_planner.llm.iteration import Replica
from mm1_planner.llm.slo import LlmSlo
from mm1_planner.slo import Slo


class Pool(Protocol):
    """Requests on replicas that come and go: servers of one request at a time, or replicas that batch."""

    smooth: bool
    arrivals_s: np.ndarray
    ready_s: np.ndarray
    longest_s: float

    @property
    def replicas(self) -> int: ...
    @property
    def left_s(self) -> list[tuple[float, float]]: ...
    def add(self, count: int, ready_s: float) -> None: ...
    def remove(self, count: int, now_s: float) -> None: ...
    def advance(self, until_s: float) -> None: ...
    def waiting(self, now_s: float) -> int: ...
    def running(self, now_s: float) -> int: ...
    def usage(self, now_s: float) -> float: ...
    def times_s(self, slo: Any) -> np.ndarray: ...


_DRAIN = 2.0
_MOST_DECISIONS = 2_000_000
_ENDLESS = 10**9


@dataclass(frozen=True)
class Step:
    """A moment at which the number of replicas was decided."""

    time_s: float
    replicas: int
    ready: int
    waiting: int


@dataclass(frozen=True)
class Floor:
    """A schedule's entry: at least so many replicas from a time on, until the next entry."""

    start_s: float
    replicas: int


@dataclass(frozen=True)
class Autoscaled:
    """What an autoscaler did.

    Attributes
    ----------
    requests, unfinished : int
        Requests that came; those of them without an answer when the simulation ended.
    attainment : float
        Share of all requests within the limit; unfinished ones are not.
    held : bool
        Whether that is the share promised.
    slo : str
        The promise.
    measured_s : float
        The promised percentile, unfinished requests taken as endless.
    replica_hours : float
        From the decision to start a replica until it is gone.
    changes, reversals : int
        Decisions that changed the number; those among them that went the other way than the one before.
    peak, mean_replicas : float
        Most replicas at once, and replica-hours over the duration.
    duration_s : float
        From the first decision to the last.
    steps : tuple of Step
        The course.
    """

    requests: int
    unfinished: int
    attainment: float
    held: bool
    slo: str
    measured_s: float
    replica_hours: float
    changes: int
    reversals: int
    peak: int
    mean_replicas: float
    duration_s: float
    steps: tuple[Step, ...]

    @property
    def reversals_per_hour(self) -> float:
        """Flapping: how often the scaler turned back."""
        return self.reversals / (self.duration_s / 3600)

    def to_dict(self) -> dict[str, object]:
        """Plain data with the same names; of `steps` those that changed something."""
        values: dict[str, object] = {
            name: getattr(self, name) for name in self.__dataclass_fields__ if name != "steps"
        }
        changed = [
            vars(step)
            for before, step in zip((None, *self.steps), self.steps, strict=False)
            if before is None or before.replicas != step.replicas
        ]
        return values | {"reversals_per_hour": self.reversals_per_hour, "steps": changed}


def autoscale(
    arrivals_s: np.ndarray,
    services_s: np.ndarray,
    scaler: Scaler,
    slo: Slo,
    *,
    schedule: Sequence[Floor] = (),
    initial: int | None = None,
    slots: int = 1,
    duration_s: float | None = None,
) -> Autoscaled:
    """Simulate a first-come queue whose replicas an autoscaler adds and removes.

    Parameters
    ----------
    arrivals_s, services_s : ndarray
        float64 seconds (n,); arrivals never decrease.
    scaler : Scaler
        The law. A replica that it adds serves after `startup_s`; one that it removes is the youngest, and
        finishes what it is serving.
    slo : Slo
        A percentile of the wait or of the sojourn.
    schedule : sequence of Floor
        Least replicas by time, as KEDA's cron trigger adds to a metric; in order.
    initial : int, optional
        Replicas that serve at time 0; the least allowed by default, and at least the schedule's.
    slots : int
        Requests that a replica serves at a time.
    duration_s : float, optional
        How long the scaler runs: by default to the last arrival. Then nothing more is decided, and what is
        not finished after the limit of the promise plus the longest service counts as unfinished.

    Raises
    ------
    BadInput
        If a number is out of range, or the promise is a mean.

    Notes
    -----
    Cost O(decisions + requests x replicas).
    """
    from mm1_planner.autoscaling.engine import Pool as Plain

    pool = Plain(arrivals_s, services_s, whole("slots", slots, largest=100_000))
    return _autoscaled(pool, scaler, slo, schedule, initial, duration_s)


def autoscale_llm(
    arrivals_s: np.ndarray,
    prompt_tokens: np.ndarray,
    output_tokens: np.ndarray,
    replica: Replica,
    scaler: Scaler,
    slo: LlmSlo,
    *,
    schedule: Sequence[Floor] = (),
    initial: int | None = None,
    duration_s: float | None = None,
) -> Autoscaled:
    """Simulate replicas that batch, iteration by iteration, while an autoscaler adds and removes them.

    A request goes to the ready replica with the fewest requests when it comes, and stays there. A replica
    taken away finishes what it holds. The scaler's metrics are vLLM's: `queue` requests waiting,
    `concurrency` waiting and running, `arrivals`, and `utilization` the share of the KV cache in use.

    Parameters
    ----------
    prompt_tokens, output_tokens : ndarray
        Whole numbers (n,), at least 1.
    replica : Replica
        Each of them.
    slo : LlmSlo
        A percentile of TTFT, TPOT or the end-to-end time.
    schedule, initial, duration_s
        As for `autoscale`.

    Raises
    ------
    BadInput
        If a number is out of range, the promise is a mean or on single inter-token times, or `utilization`
        is asked of a replica whose KV cache has no size.
    """
    from mm1_planner.autoscaling.batching import BatchingPool
    from mm1_planner.llm.simulation import checked

    if slo.what == "itl":
        raise BadInput(f"{slo}: an autoscaler is judged request by request; promise tpot, the mean of each")
    if scaler.metric == "utilization" and replica.kv_tokens >= _ENDLESS:
        raise BadInput("utilization is the share of the KV cache in use: give its size, kv_tokens")
    given = checked(arrivals_s, prompt_tokens, output_tokens) if arrivals_s.size else _no_requests()
    return _autoscaled(BatchingPool(*given, replica), scaler, slo, schedule, initial, duration_s)


def _no_requests() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64)


def _autoscaled(
    pool: Pool,
    scaler: Scaler,
    slo: Slo | LlmSlo,
    schedule: Sequence[Floor],
    initial: int | None,
    duration_s: float | None,
) -> Autoscaled:
    if slo.level is None:
        raise BadInput(f"{slo}: an autoscaler is judged by a percentile, such as p99_wait<0.5")
    if pool.arrivals_s.size == 0 and duration_s is None:
        raise BadInput("no request to serve: give the duration of an idle time")
    end = positive("duration", float(pool.arrivals_s[-1]) if duration_s is None else duration_s) + 1e-9
    if end / scaler.sync_s > _MOST_DECISIONS:
        raise BadInput(f"{end / scaler.sync_s:.3g} decisions; at most {_MOST_DECISIONS}: raise the sync time")
    first = max(
        scaler.least if initial is None else whole("initial", initial, least=0), _floor(schedule, 0.0)
    )
    pool.add(first, 0.0)
    steps = _run(pool, scaler, schedule, end)
    return _measure(pool, slo, slo.level, steps, end, scaler)


def _run(pool: Pool, scaler: Scaler, schedule: Sequence[Floor], end_s: float) -> list[Step]:
    controller, steps = Controller(scaler), []
    read_at, total = -math.inf, 0.0
    history: list[tuple[float, float]] = []
    for number in range(math.floor(end_s / scaler.sync_s) + 1):
        now = number * scaler.sync_s
        pool.advance(now)
        # KEDA answers the HPA from what it read at its last poll; the HPA alone reads at each decision.
        if scaler.kind == "hpa" or now - read_at >= scaler.polling_s - 1e-9:
            read_at, total = now, _metric(pool, scaler, now, history)
        wanted = controller.decide(now, pool.replicas, total, floor=_floor(schedule, now))
        if wanted > pool.replicas:
            pool.add(wanted - pool.replicas, now + scaler.startup_s)
        elif wanted < pool.replicas:
            pool.remove(pool.replicas - wanted, now)
        steps.append(Step(now, pool.replicas, int((pool.ready_s <= now).sum()), pool.waiting(now)))
    return steps


def _metric(pool: Pool, scaler: Scaler, now: float, history: list[tuple[float, float]]) -> float:
    """The metric in sum over the replicas."""
    if scaler.metric == "queue":
        return float(pool.waiting(now))
    if scaler.metric == "concurrency":
        return float(pool.waiting(now) + pool.running(now))
    if scaler.metric == "arrivals":
        since = max(0.0, now - scaler.rate_window_s)
        low, high = np.searchsorted(pool.arrivals_s, [since, now], side="right")
        return float(high - low) / scaler.rate_window_s if now > 0 else 0.0
    if not pool.smooth:
        return pool.usage(now)
    history.append((now, pool.usage(now)))
    while history[0][0] < now - scaler.rate_window_s:
        history.pop(0)
    return sum(busy for _, busy in history) / len(history)


def _floor(schedule: Sequence[Floor], now: float) -> int:
    return next((entry.replicas for entry in reversed(schedule) if entry.start_s <= now), 0)


def _measure(
    pool: Pool, slo: Slo | LlmSlo, level: float, steps: list[Step], end: float, scaler: Scaler
) -> Autoscaled:
    pool.advance(end + max(scaler.startup_s, slo.limit_s) + _DRAIN * pool.longest_s)
    times = pool.times_s(slo)
    kept = float((times < slo.limit_s).mean()) if times.size else 1.0
    rank = max(0, math.ceil(level * times.size - 1e-9) - 1)
    sizes = [step.replicas for step in steps]
    moves = [after - before for before, after in pairwise(sizes) if after != before]
    hours = _replica_seconds(pool, scaler, end) / 3600
    return Autoscaled(
        requests=times.size,
        unfinished=int(np.isinf(times).sum()),
        attainment=kept,
        held=kept >= level,
        slo=str(slo),
        measured_s=float(np.partition(times, rank)[rank]) if times.size else 0.0,
        replica_hours=hours,
        changes=len(moves),
        reversals=sum(before * after < 0 for before, after in pairwise(moves)),
        peak=max(sizes),
        mean_replicas=hours * 3600 / end,
        duration_s=end,
        steps=tuple(steps),
    )


def _replica_seconds(pool: Pool, scaler: Scaler, end: float) -> float:
    """From each decision to start, which lies `startup_s` before ready (0 for the first), until gone."""
    spans = [(ready, gone) for ready, gone in pool.left_s] + [(float(ready), end) for ready in pool.ready_s]
    return sum(min(gone, end) - max(0.0, min(ready - scaler.startup_s, end)) for ready, gone in spans)
