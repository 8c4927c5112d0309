"""Replicas that batch, under an autoscaler: iteration by iteration. Import it where it runs (numba)."""

from __future__ import annotations

import math

import numpy as np

from mm1_planner.llm.engine import BATCH, OUTSTANDING, USED, Fleet
from mm1_planner.llm.iteration import Replica
from mm1_planner.llm.slo import LlmSlo

_PLACES = 8


class BatchingPool:
    """Requests on replicas of a language model that are added with a delay and removed when they are done.

    A request goes to the ready replica with the fewest requests and stays there: replicas that come later do
    not take over what waits elsewhere. Without a ready replica it waits outside.

    Parameters
    ----------
    arrivals_s, prompts, outputs : ndarray
        Requests (n,), arrivals never decreasing, tokens at least 1.
    replica : Replica
        Each of them.
    """

    smooth = False
    """What vLLM tells of its KV cache is of the moment."""

    def __init__(
        self, arrivals_s: np.ndarray, prompts: np.ndarray, outputs: np.ndarray, replica: Replica
    ) -> None:
        self.arrivals_s, self._replica = arrivals_s, replica
        self._fleet = Fleet(arrivals_s, prompts, outputs, replica, _PLACES)
        self._fleet.taking[:] = False
        self._places = np.empty(0, np.int64)  # of each replica that stays
        self.ready_s = np.empty(0)
        self._left_s: list[tuple[float, float]] = []
        self._leaving: dict[int, tuple[float, float]] = {}  # place: ready, told to leave
        self.longest_s = _longest_s(prompts, outputs, replica)

    @property
    def replicas(self) -> int:
        """Replicas there are, ready or not, without those that only finish."""
        return int(self.ready_s.size)

    @property
    def left_s(self) -> list[tuple[float, float]]:
        """Ready and gone times of replicas removed; endless of those that still finish."""
        return self._left_s + [(ready, math.inf) for ready, _ in self._leaving.values()]

    def add(self, count: int, ready_s: float) -> None:
        """Replicas that serve from `ready_s` on."""
        taken = {*self._places.tolist(), *self._leaving}
        free = [place for place in range(self._fleet.taking.size) if place not in taken]
        if len(free) < count:
            begin = self._fleet.taking.size
            self._fleet.more(max(count - len(free), begin))
            free += range(begin, self._fleet.taking.size)
        self._places = np.concatenate([self._places, np.array(free[:count], np.int64)])
        self.ready_s = np.concatenate([self.ready_s, np.full(count, ready_s)])

    def remove(self, count: int, now_s: float) -> None:
        """Take the youngest replicas away, as Kubernetes does; what they hold they finish."""
        order = np.argsort(self.ready_s, kind="stable")
        for index in order[self.replicas - count :]:
            place, ready = int(self._places[index]), float(self.ready_s[index])
            self._fleet.taking[place] = False
            if self._fleet.known[OUTSTANDING, place]:
                self._leaving[place] = (ready, now_s)
            else:
                self._left_s.append((ready, now_s))
        kept = order[: self.replicas - count]
        self._places, self.ready_s = self._places[kept], self.ready_s[kept]

    def advance(self, until_s: float) -> None:
        """Everything that happens before `until_s`; replicas take requests from the moment they are ready."""
        coming = self.ready_s[self.ready_s < until_s]
        for moment in [
            *np.unique(coming[~self._fleet.taking[self._places[self.ready_s < until_s]]]),
            until_s,
        ]:
            self._fleet.advance(float(moment))
            self._fleet.taking[self._places[self.ready_s <= moment]] = True
        for place in [each for each in self._leaving if not self._fleet.known[OUTSTANDING, each]]:
            ready, told = self._leaving.pop(place)
            self._left_s.append((ready, max(told, float(self._fleet.rested_s[place]))))

    def waiting(self, now_s: float) -> int:
        """Requests that have come and are not in a batch."""
        come = int(np.searchsorted(self.arrivals_s, now_s, side="right"))
        known = self._fleet.known
        return come - self._fleet.coming + int((known[OUTSTANDING] - known[BATCH]).sum())

    def running(self, now_s: float) -> int:
        """Requests in a batch, on the replicas that stay."""
        return int(self._fleet.known[BATCH, self._places].sum())

    def usage(self, now_s: float) -> float:
        """Share of the KV cache in use, in sum over the replicas."""
        return float(self._fleet.known[USED, self._places].sum()) / self._replica.kv_tokens

    def times_s(self, slo: LlmSlo) -> np.ndarray:
        """What the promise is about, of each request; infinite where it never came."""
        firsts, lasts = self._fleet.firsts_s, self._fleet.lasts_s
        outputs = self._fleet.outputs
        done = np.where(self._fleet.generated >= outputs, lasts, np.inf)
        if slo.what == "ttft":
            return np.where(np.isnan(firsts), np.inf, firsts - self.arrivals_s)
        if slo.what == "e2e":
            return np.asarray(done - self.arrivals_s)
        between = np.maximum(outputs - 1, 1)
        return np.where(np.isinf(done), np.inf, (np.where(np.isinf(done), 0, done) - firsts) / between)


def _longest_s(prompts: np.ndarray, outputs: np.ndarray, replica: Replica) -> float:
    """No request takes longer once it is in the batch, where nobody is preempted."""
    if not prompts.size:
        return 0.0
    batch, context = replica.max_batch, int((prompts + outputs).max())
    held = min(batch * context, replica.kv_tokens)
    slowest = replica.iteration_s(batch, held, replica.token_budget)
    return slowest * (float(outputs.max()) + math.ceil(float(prompts.max()) / replica.token_budget))
