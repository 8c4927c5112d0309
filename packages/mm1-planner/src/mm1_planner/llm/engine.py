"""Continuous batching compiled by numba. Import this module only where it runs: numba is slow to load."""

from __future__ import annotations

import math

import numpy as np

from mm1_planner.engine.fast import compiled
from mm1_planner.llm.iteration import Replica, interpolate

BINS_PER_OCTAVE = 256
"""Bins of the inter-token times: 2^(1/256) wide, 0.27 %."""

_LEAST_OCTAVE, _OCTAVES = -24, 44
_interpolate = compiled(interpolate)


@compiled
def run(
    arrivals: np.ndarray,
    prompts: np.ndarray,
    outputs: np.ndarray,
    servers: int,
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
) -> None:
    """Fill the times of first and last tokens, the histogram of inter-token times, and the totals.

    `totals`: iterations, busy seconds, decoding sequences times seconds, preemptions, the sum of the
    inter-token times, their number, stored tokens times seconds.
    """
    count = arrivals.size
    max_batch, budget_tokens, kv_tokens = limits[0], limits[1], limits[2]
    stored = np.zeros(count, np.int64)
    generated = np.zeros(count, np.int64)
    following = np.full(count, -1, np.int64)  # the next in the same queue
    head = np.full(servers, -1, np.int64)
    tail = np.full(servers, -1, np.int64)
    outstanding = np.zeros(servers, np.int64)
    running = np.empty((servers, max_batch), np.int64)
    chunks = np.empty((servers, max_batch), np.int64)
    batch = np.zeros(servers, np.int64)
    scheduled = np.zeros(servers, np.int64)
    used = np.zeros(servers, np.int64)
    ends = np.full(servers, np.inf)
    coming = 0
    while True:
        server = int(np.argmin(ends)) if servers > 1 else 0
        while coming < count and prompts[coming] + outputs[coming] - 1 > kv_tokens:
            coming += 1  # can never fit: no times
        if coming < count and arrivals[coming] <= ends[server]:
            now = arrivals[coming]
            if servers == 1:
                server = 0
            elif routing == 0:
                server = coming % servers
            elif routing == 1:
                server = min(int(draws[coming] * servers), servers - 1)
            else:
                server = int(np.argmin(outstanding))
            if head[server] < 0:
                head[server] = coming
            else:
                following[tail[server]] = coming
            tail[server] = coming
            outstanding[server] += 1
            coming += 1
            if ends[server] < np.inf:
                continue
        elif ends[server] < np.inf:
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


def empty_histogram() -> np.ndarray:
    """Counts of inter-token times, none yet."""
    return np.zeros(_OCTAVES * BINS_PER_OCTAVE, np.int64)


def bin_middles_s() -> np.ndarray:
    """The time that stands for each bin, its geometric middle."""
    return np.asarray(
        2.0 ** (_LEAST_OCTAVE + (np.arange(_OCTAVES * BINS_PER_OCTAVE) + 0.5) / BINS_PER_OCTAVE)
    )


def limits_of(replica: Replica) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and limits as arrays."""
    coefficients = np.array([replica.alpha_s, replica.beta_s, replica.gamma_s, replica.delta_s])
    return coefficients, np.array([replica.max_batch, replica.token_budget, replica.kv_tokens], np.int64)
