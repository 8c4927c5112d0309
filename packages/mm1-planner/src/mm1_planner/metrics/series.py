"""Samples of several replicas over time, and what happened between one moment and the next."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mm1_planner.metrics.names import CACHE, COUNTERS, era, ours

# Labels that divide one replica's metric, rather than tell replicas apart.
_WITHIN = {"le", "finished_reason", "__name__", "quantile"}

Labels = tuple[tuple[str, str], ...]


@dataclass
class Snapshot:
    """Everything read at one moment.

    Attributes
    ----------
    time_s : float
        When; seconds since any fixed time.
    values : dict
        (replica, our name, the labels within the replica) to value. Each series stays apart, since each
        counter resets for itself.
    names : set of str
        As vLLM wrote them.
    caches : list of (labels, tokens)
        Sizes of KV caches, each with the labels of what holds it.
    """

    time_s: float
    values: dict[tuple[Labels, str, Labels], float] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    caches: list[tuple[dict[str, str], int]] = field(default_factory=list)
    _ages: dict[tuple[Labels, str, Labels], int] = field(default_factory=dict)

    def add(self, name: str, labels: dict[str, str], value: float) -> None:
        """Keep a sample if it is one of ours; of an old and a new name side by side the new one counts."""
        self.names.add(name)
        if name.replace(":", "_") == CACHE.replace(":", "_"):
            sizes = labels.get("num_gpu_blocks", ""), labels.get("block_size", "")
            if all(size.isdecimal() for size in sizes):
                self.caches.append((labels, int(sizes[0]) * int(sizes[1])))
            return
        known = ours(name)
        if known is None:
            return
        replica = tuple(sorted((key, text) for key, text in labels.items() if key not in _WITHIN))
        within = tuple(sorted((key, text) for key, text in labels.items() if key in _WITHIN - {"__name__"}))
        key = (replica, known[0], within)
        if key not in self.values or known[1] <= self._ages[key]:
            self.values[key], self._ages[key] = value, known[1]

    def cache_tokens(self, replica: Labels) -> float:
        """What a replica's KV cache holds: of the one that shares its labels; NaN if that is not one size."""
        mine = dict(replica)
        sizes = {
            size
            for labels, size in self.caches
            if all(mine[name] == text for name, text in labels.items() if name in mine)
        }
        return float(sizes.pop()) if len(sizes) == 1 else math.nan

    @property
    def replicas(self) -> list[Labels]:
        """Replicas that have any of the metrics, in order."""
        return sorted({replica for replica, _, _ in self.values})


@dataclass(frozen=True)
class Window:
    """What one replica did between two moments.

    Attributes
    ----------
    replica : tuple of (label, value)
        Which one.
    seconds : float
        How long.
    counts : dict
        Increase of each counter of `COUNTERS` that is known.
    waiting, running : float
        Requests at the end; NaN if unknown.
    resets : int
        Counters that began anew within the window.
    kv_usage : float
        Share of the KV cache in use, mean of both ends; NaN if unknown.
    cache_tokens : float
        Tokens that the cache holds; NaN if unknown.
    """

    replica: Labels
    seconds: float
    counts: dict[str, float]
    waiting: float
    running: float
    resets: int
    kv_usage: float = math.nan
    cache_tokens: float = math.nan

    def mean(self, what: str) -> float:
        """Mean of `itl`, `ttft`, `e2e` or `wait` over the window, seconds; NaN where nothing was measured."""
        count = self.counts.get(f"{what}_count", 0.0)
        return self.counts.get(f"{what}_sum_s", math.nan) / count if count > 0 else math.nan

    @property
    def decoding(self) -> float:
        """Sequences decoding, averaged over time: the time between all their tokens over the time gone by."""
        return self.counts.get("itl_sum_s", math.nan) / self.seconds

    @property
    def prompt_tokens_per_s(self) -> float:
        """Prompt tokens taken in."""
        return self.counts.get("prompt_tokens", math.nan) / self.seconds


def windows_of(snapshots: Sequence[Snapshot], *, least_s: float = 0.0) -> list[Window]:
    """The windows of each replica between consecutive moments at which it was read, in order of time.

    Replicas are scraped each at its own moments, and one that was not read for a while has a longer window.
    A counter that fell began anew from 0: what it shows is what happened since (as Prometheus's `increase`).
    NaN counts as missing. Moments less than `least_s` after the one before are passed over.
    """
    moments: dict[Labels, list[Snapshot]] = {}
    for snapshot in snapshots:
        for replica in snapshot.replicas:
            moments.setdefault(replica, []).append(snapshot)
    found = []
    for replica, read in sorted(moments.items()):
        before = read[0]
        for after in read[1:]:
            seconds = after.time_s - before.time_s
            # A scraper's clock is a little early or late; a window short by that still counts.
            if seconds > 0 and seconds >= 0.9 * least_s:
                found.append(_window(before, after, replica, seconds))
                before = after
    return found


def era_of(snapshots: Iterable[Snapshot]) -> str:
    """The naming of all samples together."""
    return era(name for snapshot in snapshots for name in snapshot.names)


def _window(before: Snapshot, after: Snapshot, replica: Labels, seconds: float) -> Window:
    counts: dict[str, float] = {}
    gauges = {"waiting": math.nan, "running": math.nan}
    resets = 0
    for (which, name, within), value in after.values.items():
        if which != replica or math.isnan(value):
            continue
        if name not in COUNTERS:
            gauges[name] = value
            continue
        # A series that is new has begun within the window.
        start = before.values.get((replica, name, within), 0.0)
        if math.isnan(start):
            continue
        resets += value < start
        counts[name] = counts.get(name, 0.0) + (value if value < start else value - start)
    usage = [snapshot.values.get((replica, "kv_usage", ()), math.nan) for snapshot in (before, after)]
    return Window(
        replica,
        seconds,
        counts,
        gauges["waiting"],
        gauges["running"],
        resets,
        sum(usage) / 2,
        after.cache_tokens(replica),
    )
