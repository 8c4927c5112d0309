"""Continuous batching compiled by numba. Import this module only where it runs: numba is slow to load."""

from __future__ import annotations

import math

import numpy as np

from mm1_planner.engine.fast import compiled
from mm1_planner.llm.iteration import Replica, interpolate

BINS_PER_OCTAVE = 256
"""Bins of the inter-token times: 2^(1/256) wide, 0.27 %."""

_LEAST_OCTAVE, _OCTAVES = -24, 44
_NOTHING = np.zeros(2)
_interpolate = compiled(interpolate)


HEAD, TAIL, OUTSTANDING, BATCH, SCHEDULED, USED = range(6)
"""Of each server: its queue, requests not finished, running, scheduled, tokens held."""

_FOLLOWING = 2


@compiled
def advance(
    since: float,
    until: float,
    arrivals: np.ndarray,
    prompts: np.ndarray,
    outputs: np.ndarray,
    taking: np.ndarray,
    routing: int,
    draws: np.ndarray,
    coefficients: np.ndarray,
    limits: np.ndarray,
    tabulated: bool,
    axis_0: np.ndarray,
    axis_1: np.ndarray,
    axis_2: np.ndarray,
    values: np.ndarray,
    first_counted: int,
    firsts: np.ndarray,
    lasts: np.ndarray,
    histogram: np.ndarray,
    totals: np.ndarray,
    requests: np.ndarray,
    known: np.ndarray,
    running: np.ndarray,
    chunks: np.ndarray,
    ends: np.ndarray,
    rested: np.ndarray,
    coming: int,
) -> int:
    """Everything that happens from `since` on and before `until`; the next request to come.

    Fills the times of first and last tokens, the histogram of inter-token times, and the totals: iterations,
    busy seconds, decoding sequences times seconds, preemptions, the sum of the inter-token times, their
    number, stored tokens times seconds. `taking` are the servers that new requests go to; where none does,
    requests wait outside. `rested` is when a server last had nothing left to do.
    """
    count, servers = arrivals.size, ends.size
    max_batch, budget_tokens, kv_tokens = limits[0], limits[1], limits[2]
    stored, generated, following = requests[0], requests[1], requests[2]
    head, tail, outstanding = known[0], known[1], known[2]
    batch, scheduled, used = known[3], known[4], known[5]
    open_servers = 0
    for index in range(servers):
        if taking[index]:
            open_servers += 1
    while True:
        server = int(np.argmin(ends)) if servers > 1 else 0
        while coming < count and prompts[coming] + outputs[coming] - 1 > kv_tokens:
            coming += 1  # can never fit: no times
        if coming < count and open_servers > 0 and arrivals[coming] <= ends[server]:
            now = max(arrivals[coming], since)  # it may have waited outside
            if now >= until:
                break
            if routing == 0:
                server = coming % servers
            elif routing == 1:
                server = min(int(draws[coming] * servers), servers - 1)
            else:
                server = -1
                for index in range(servers):
                    if taking[index] and (server < 0 or outstanding[index] < outstanding[server]):
                        server = index
            while not taking[server]:
                server = (server + 1) % servers
            if head[server] < 0:
                head[server] = coming
            else:
                following[tail[server]] = coming
            tail[server] = coming
            outstanding[server] += 1
            coming += 1
            if ends[server] < np.inf:
                continue
        elif ends[server] < until:
            now = ends[server]
            kept = 0
            for position in range(batch[server]):
                i = running[server, position]
                if position < scheduled[server]:
                    stored[i] += chunks[server, position]
                    if stored[i] == prompts[i] + generated[i]:
                        generated[i] += 1
                        if generated[i] == 1:
                            firsts[i] = now
                        elif i >= first_counted:
                            gap = now - lasts[i]
                            place = int((math.log2(max(gap, 1e-300)) - _LEAST_OCTAVE) * BINS_PER_OCTAVE)
                            histogram[min(max(place, 0), histogram.size - 1)] += 1
                            totals[4] += gap
                            totals[5] += 1
                        lasts[i] = now
                        if generated[i] == outputs[i]:
                            used[server] -= stored[i]
                            outstanding[server] -= 1
                            continue
                running[server, kept] = i
                kept += 1
            batch[server] = kept
        else:
            break
        # The next iteration: those running in order of admission, then those waiting.
        budget = budget_tokens
        position = 0
        preempted = False
        planned = 0
        while position < batch[server] and budget > 0:
            i = running[server, position]
            chunk = min(prompts[i] + generated[i] - stored[i], budget)
            while used[server] + chunk > kv_tokens and batch[server] > position:
                preempted = True
                totals[3] += 1
                batch[server] -= 1
                last = running[server, batch[server]]
                used[server] -= stored[last]
                stored[last] = 0
                following[last] = head[server]
                if head[server] < 0:
                    tail[server] = last
                head[server] = last
            if batch[server] == position:
                break
            chunks[server, position] = chunk
            used[server] += chunk
            planned += chunk
            budget -= chunk
            position += 1
        while head[server] >= 0 and batch[server] < max_batch and budget > 0 and not preempted:
            i = head[server]
            chunk = min(prompts[i] + generated[i] - stored[i], budget)
            if used[server] + chunk > kv_tokens:
                break
            head[server] = following[i]
            following[i] = -1
            running[server, batch[server]] = i
            batch[server] += 1
            chunks[server, position] = chunk
            used[server] += chunk
            planned += chunk
            budget -= chunk
            position += 1
        scheduled[server] = position
        if position == 0:
            ends[server] = np.inf
            rested[server] = now
            continue
        decodes = 0
        context = 0
        for place in range(position):
            i = running[server, place]
            if generated[i] > 0 and stored[i] + 1 == prompts[i] + generated[i]:
                decodes += 1
                context += stored[i]
        prefill = planned - decodes
        if tabulated:
            seconds = _interpolate(
                axis_0, axis_1, axis_2, values, float(decodes), float(context), float(prefill)
            )
        else:
            work = coefficients[1] * decodes + coefficients[2] * context + coefficients[3] * prefill
            seconds = coefficients[0] + work
        ends[server] = now + seconds
        totals[0] += 1
        totals[1] += seconds
        totals[2] += seconds * decodes
        totals[6] += seconds * used[server]
    return coming


class Fleet:
    """Replicas that batch, between one call and the next.

    Parameters
    ----------
    arrivals_s, prompts, outputs : ndarray
        Requests (n,), sorted by time; float64 seconds, int64 tokens.
    servers : int
        Places for replicas, all of which take requests at first.
    routing : int
        0 round robin, 1 by `draws`, 2 fewest requests.
    first_counted : int
        The inter-token times of earlier requests are left out of the histogram.
    """

    def __init__(
        self,
        arrivals_s: np.ndarray,
        prompts: np.ndarray,
        outputs: np.ndarray,
        replica: Replica,
        servers: int,
        *,
        routing: int = 2,
        draws: np.ndarray = _NOTHING,
        first_counted: int = 0,
    ) -> None:
        self.arrivals_s, self.prompts, self.outputs, self.replica = arrivals_s, prompts, outputs, replica
        self.firsts_s = np.full(arrivals_s.size, np.nan)
        self.lasts_s = np.full(arrivals_s.size, np.nan)
        self.histogram = np.zeros(_OCTAVES * BINS_PER_OCTAVE, np.int64)
        self.totals = np.zeros(7)
        self.taking = np.ones(servers, np.bool_)
        self.known = np.zeros((6, servers), np.int64)
        self.known[:2] = -1
        self.rested_s = np.zeros(servers)
        self.coming = 0
        self._now_s = -math.inf
        self._routing, self._draws, self._first_counted = routing, draws, first_counted
        self._requests = np.zeros((3, arrivals_s.size), np.int64)
        self._requests[_FOLLOWING] = -1
        self._running = np.empty((servers, replica.max_batch), np.int64)
        self._chunks = np.empty((servers, replica.max_batch), np.int64)
        self._ends_s = np.full(servers, np.inf)
        self._axes = replica.table or (_NOTHING, _NOTHING, _NOTHING, np.zeros((2, 2, 2)))

    def advance(self, until_s: float) -> None:
        """Run every replica up to a time; what happens at that very time is left for the next call."""
        coefficients, limits = limits_of(self.replica)
        self.coming = advance(
            self._now_s, until_s, self.arrivals_s, self.prompts, self.outputs, self.taking, self._routing,
            self._draws, coefficients, limits, self.replica.table is not None, *self._axes,
            self._first_counted,
            self.firsts_s, self.lasts_s, self.histogram, self.totals, self._requests, self.known,
            self._running, self._chunks, self._ends_s, self.rested_s, self.coming,
        )  # fmt: skip
        self._now_s = until_s

    @property
    def generated(self) -> np.ndarray:
        """Tokens of each request so far."""
        return np.asarray(self._requests[1])

    def more(self, servers: int) -> None:
        """Places for so many more replicas, none of which takes requests yet."""
        self.taking = np.concatenate([self.taking, np.zeros(servers, np.bool_)])
        fresh = np.zeros((6, servers), np.int64)
        fresh[:2] = -1
        self.known = np.ascontiguousarray(np.concatenate([self.known, fresh], axis=1))
        self.rested_s = np.concatenate([self.rested_s, np.zeros(servers)])
        places = np.empty((servers, self.replica.max_batch), np.int64)
        self._running = np.concatenate([self._running, places])
        self._chunks = np.concatenate([self._chunks, places])
        self._ends_s = np.concatenate([self._ends_s, np.full(servers, np.inf)])


def bin_middles_s() -> np.ndarray:
    """The time that stands for each bin, its geometric middle."""
    return np.asarray(
        2.0 ** (_LEAST_OCTAVE + (np.arange(_OCTAVES * BINS_PER_OCTAVE) + 0.5) / BINS_PER_OCTAVE)
    )


def limits_of(replica: Replica) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and limits as arrays."""
    coefficients = np.array([replica.alpha_s, replica.beta_s, replica.gamma_s, replica.delta_s])
    return coefficients, np.array([replica.max_batch, replica.token_budget, replica.kv_tokens], np.int64)
