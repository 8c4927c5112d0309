"""Seconds of a piece of work: CUDA graphs replayed between events, or a clock around a CPU call."""

from __future__ import annotations

import itertools
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mfi_command import require

_STEPS = 10_000  # of the interpreter's loop: half a millisecond
_ISSUED = 100


@dataclass(frozen=True)
class Timing:
    """Median of repeated runs, the quartiles, and how many there were; seconds. `beside`: medians of what was
    timed in between.
    """

    latency_s: float
    low_s: float
    high_s: float
    runs: int
    beside: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        times = {name: float(f"{getattr(self, name):.6g}") for name in ("latency_s", "low_s", "high_s")}
        return {**times, "runs": self.runs, **{k: float(f"{v:.4g}") for k, v in self.beside.items()}}


def summary(taken: list[float], *, calls: int = 1) -> Timing:
    """Median and quartiles of `taken`, each divided by the `calls` that one run made."""
    each = sorted(value / calls for value in taken)
    low, _, high = statistics.quantiles(each, n=4) if len(each) > 1 else (each[0],) * 3
    return Timing(statistics.median(each), low, high, len(each))


def repeats(once_s: float, budget_s: float, *, least: int = 5, most: int = 60) -> int:
    """How many runs of `once_s` fit into `budget_s`, within bounds."""
    return int(min(most, max(least, budget_s / max(once_s, 1e-9))))


def wall(
    call: Callable[[], object],
    *,
    synchronize: Callable[[], object] = lambda: None,
    prepare: Callable[[], object] = lambda: None,
    budget_s: float,
    calls: int = 1,
    warm: int = 3,
    probes: Mapping[str, Callable[[], float]] | None = None,
) -> Timing:
    """Time of a run by the host's clock, divided by `calls`, the device idle before and after each run; the
    first `warm` runs are not kept. `prepare` runs before each, untimed, and so does each of `probes`, whose
    median goes beside the time.
    """
    noted: dict[str, list[float]] = defaultdict(list)

    def once() -> float:
        prepare()
        synchronize()
        for name, probe in (probes or {}).items():
            noted[name].append(probe())
        synchronize()
        start = time.perf_counter()
        call()
        synchronize()
        return time.perf_counter() - start

    first = min(once() for _ in range(warm))
    noted.clear()
    found = summary([once() for _ in range(repeats(first, budget_s))], calls=calls)
    return replace(found, beside={name: statistics.median(taken) for name, taken in noted.items()})


def host_s() -> float:
    """Seconds of a fixed piece of the interpreter's work: how fast the host is."""
    start = time.perf_counter()
    total = 0
    for number in range(_STEPS):
        total += number % 7
    return time.perf_counter() - start


def issue_s(device: str) -> Callable[[], float]:
    """Seconds that the host takes to issue a fixed number of operators on a tensor of one element: how fast
    it feeds the device. Fewer than a device queues, so that nothing is waited for.
    """
    torch: Any = require("torch", extra="collect", distribution="latency-predictor")
    one = torch.ones(1, device=device)

    def probe() -> float:
        start = time.perf_counter()
        for _ in range(_ISSUED):
            torch.add(one, one)
        return time.perf_counter() - start

    return probe


def captured(call: Callable[[], object]) -> Any:
    """`call` as a CUDA graph; it runs twice before, since libraries allocate on first use."""
    torch: Any = require("torch", extra="collect", distribution="latency-predictor")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph


def replayed(graph: Any, *, budget_s: float, calls: int = 1) -> Timing:
    """Time of one replay between events, divided by `calls`, the first two replays not kept."""
    torch: Any = require("torch", extra="collect", distribution="latency-predictor")

    def marked(runs: int) -> list[float]:
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(runs + 1)]
        marks[0].record()
        for mark in marks[1:]:
            graph.replay()
            mark.record()
        torch.cuda.synchronize()
        # elapsed_time is in milliseconds
        return [a.elapsed_time(b) / 1e3 for a, b in itertools.pairwise(marks)]

    first = marked(3)[2]
    return summary(marked(repeats(first, budget_s)), calls=calls)
