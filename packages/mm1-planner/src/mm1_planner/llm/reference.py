"""Continuous batching written to be read: what the compiled engine must equal, request by request."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mm1_planner.llm.iteration import Replica


@dataclass
class _Sequence:
    number: int
    prompt: int
    output: int
    stored: int = 0  # tokens in the KV cache
    generated: int = 0
    times: list[float] = field(default_factory=list)

    @property
    def missing(self) -> int:
        """Tokens to compute before the next one can be generated: the prompt, later one at a time."""
        return self.prompt + self.generated - self.stored


class _Server:
    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.waiting: list[_Sequence] = []
        self.running: list[_Sequence] = []
        self.step: list[tuple[_Sequence, int]] = []
        self.ends = np.inf

    @property
    def stored(self) -> int:
        return sum(sequence.stored for sequence in self.running) + sum(chunk for _, chunk in self.step)

    def start(self, now: float) -> None:
        """Choose the work of the next iteration, and when it ends."""
        budget, self.step, preempted = self.replica.token_budget, [], False
        position = 0
        while position < len(self.running) and budget > 0:
            sequence = self.running[position]
            chunk = min(sequence.missing, budget)
            while self.stored + chunk > self.replica.kv_tokens and len(self.running) > position:
                preempted = True
                last = self.running.pop()
                last.stored = 0
                self.waiting.insert(0, last)
            if len(self.running) == position:
                break
            self.step.append((sequence, chunk))
            budget -= chunk
            position += 1
        while self.waiting and len(self.running) < self.replica.max_batch and budget > 0 and not preempted:
            sequence = self.waiting[0]
            chunk = min(sequence.missing, budget)
            if self.stored + chunk > self.replica.kv_tokens:
                break
            self.running.append(self.waiting.pop(0))
            self.step.append((sequence, chunk))
            budget -= chunk
        decodes = [s for s, chunk in self.step if s.generated > 0 and s.stored + 1 == s.prompt + s.generated]
        prefill = sum(chunk for s, chunk in self.step) - len(decodes)
        seconds = self.replica.iteration_s(len(decodes), sum(s.stored for s in decodes), prefill)
        self.ends = now + seconds if self.step else np.inf

    def finish(self) -> None:
        """Hand out the tokens of the iteration that ends now."""
        for sequence, chunk in self.step:
            sequence.stored += chunk
            if sequence.missing == 0:
                sequence.generated += 1
                sequence.times.append(self.ends)
        self.step = []
        self.running = [s for s in self.running if s.generated < s.output]


def simulate_by_reading(
    arrivals_s: np.ndarray, prompts: np.ndarray, outputs: np.ndarray, replica: Replica
) -> list[list[float]]:
    """Times of every token of every request on one replica; an empty list for a request that cannot fit.

    Parameters
    ----------
    arrivals_s : ndarray
        Sorted, float64 seconds (n,).
    prompts, outputs : ndarray
        Tokens, int64 (n,), at least 1.
    """
    server = _Server(replica)
    requests = [
        _Sequence(number, int(prompt), int(output))
        for number, (prompt, output) in enumerate(zip(prompts, outputs, strict=True))
    ]
    coming = [request for request in requests if replica.holds(request.prompt, request.output)]
    while coming or np.isfinite(server.ends):
        if coming and arrivals_s[coming[0].number] <= server.ends:
            now = float(arrivals_s[coming[0].number])
            server.waiting.append(coming.pop(0))
            if np.isfinite(server.ends):
                continue
        else:
            now = server.ends
            server.finish()
        server.start(now)
    return [request.times for request in requests]
