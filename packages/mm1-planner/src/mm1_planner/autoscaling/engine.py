"""A first-come queue whose servers come and go. Import it where it runs: numba takes a second to load."""

from __future__ import annotations

import numpy as np

from mm1_planner.engine.fast import compiled
from mm1_planner.slo import Slo


class Pool:
    """Requests in order of arrival, on servers that are added with a delay and removed when done.

    Parameters
    ----------
    arrivals_s, services_s : ndarray
        float64 seconds (n,), arrivals never decreasing.
    slots : int
        Requests that one replica serves at a time.
    """

    smooth = True
    """A busy share is averaged over the scaler's window."""

    def __init__(self, arrivals_s: np.ndarray, services_s: np.ndarray, slots: int) -> None:
        self.arrivals_s, self.services_s, self.slots = arrivals_s, services_s, slots
        self.starts_s = np.full(arrivals_s.size, np.inf)
        self.started = 0
        self.ready_s = np.empty(0)  # of each replica, when it began or begins to serve
        self.free_s = np.empty((0, slots))
        self.work_s = 0.0  # service begun so far
        self.left_s: list[tuple[float, float]] = []  # ready and gone times of replicas removed
        self.longest_s = float(services_s.max()) if services_s.size else 0.0

    @property
    def replicas(self) -> int:
        """Replicas there are, ready or not."""
        return int(self.ready_s.size)

    def add(self, count: int, ready_s: float) -> None:
        """Replicas that serve from `ready_s` on."""
        self.ready_s = np.concatenate([self.ready_s, np.full(count, ready_s)])
        self.free_s = np.concatenate([self.free_s, np.full((count, self.slots), ready_s)])

    def remove(self, count: int, now_s: float) -> None:
        """Take the youngest replicas away, as Kubernetes does; what they are serving they finish."""
        order = np.argsort(self.ready_s, kind="stable")
        for index in order[self.replicas - count :]:
            gone = max(now_s, float(self.free_s[index].max())) if self.ready_s[index] <= now_s else now_s
            self.left_s.append((float(self.ready_s[index]), gone))
        kept = order[: self.replicas - count]
        self.ready_s, self.free_s = self.ready_s[kept], self.free_s[kept]

    def advance(self, until_s: float) -> None:
        """Begin every service that begins before `until_s`."""
        flat = self.free_s.reshape(-1)
        self.started, work = _advance(
            self.arrivals_s, self.services_s, self.starts_s, self.started, flat, until_s
        )
        self.work_s += work

    def waiting(self, now_s: float) -> int:
        """Requests that have come and do not yet have a server."""
        return int(np.searchsorted(self.arrivals_s, now_s, side="right")) - self.started

    def running(self, now_s: float) -> int:
        """Requests in service on the replicas that stay."""
        return int(((self.free_s > now_s) & (self.ready_s[:, None] <= now_s)).sum())

    def usage(self, now_s: float) -> float:
        """Share of the places in use, in sum over the replicas."""
        return self.running(now_s) / self.slots

    def times_s(self, slo: Slo) -> np.ndarray:
        """What the promise is about, of each request; infinite where it never began."""
        ends = self.starts_s + self.services_s if slo.includes_service else self.starts_s
        return np.asarray(ends - self.arrivals_s)


@compiled
def _advance(
    arrivals: np.ndarray,
    services: np.ndarray,
    starts: np.ndarray,
    started: int,
    free: np.ndarray,
    until: float,
) -> tuple[int, float]:
    """Index of the first request without a server, and the service begun; O(requests x servers)."""
    work = 0.0
    while started < arrivals.size and free.size:
        first = 0
        for index in range(1, free.size):
            if free[index] < free[first]:
                first = index
        start = max(arrivals[started], free[first])
        # A service that begins later waits: by then another replica may be there.
        if start >= until:
            break
        starts[started] = start
        free[first] = start + services[started]
        work += services[started]
        started += 1
    return started, work
