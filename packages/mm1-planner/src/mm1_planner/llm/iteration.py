"""How long one iteration of a batching server takes, and how much it may hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from mfi_command import BadInput
from mm1_planner.inputs import not_negative, positive, whole

IterationTime = Callable[[int, int, int], float]
"""Seconds of an iteration: of its decoding sequences, their context tokens in sum, its prefill tokens."""


@dataclass(frozen=True)
class Replica:
    r"""One server of a language model that batches continuously, as vLLM schedules it.

    In every iteration each running sequence gets one token, sequences still in their prompt a chunk of it,
    and waiting requests join in order of arrival while token budget, batch and KV cache have room.
    An iteration of B decoding sequences with C tokens of context in sum and P tokens of prompts takes

    $$ t = \alpha + \beta B + \gamma C + \delta P \quad\text{seconds.} $$

    Attributes
    ----------
    alpha_s : float
        Fixed time of an iteration: weights read once, launches.
    beta_s : float
        Per decoding sequence.
    gamma_s : float
        Per token of context of the decoding sequences: their KV cache read.
    delta_s : float
        Per token of prompt.
    max_batch : int
        Most sequences running at once (vLLM: `max_num_seqs`).
    token_budget : int
        Most tokens in an iteration, decodes included (`max_num_batched_tokens`); at least `max_batch`.
    kv_tokens : int
        Tokens that the KV cache holds. Where it overflows, the sequence admitted last goes back to the front
        of the queue and computes its context again.
    table : tuple or None
        Times on a grid instead of the four coefficients; see `tabulated`.
    """

    alpha_s: float
    beta_s: float = 0.0
    gamma_s: float = 0.0
    delta_s: float = 0.0
    max_batch: int = 256
    token_budget: int = 8192
    kv_tokens: int = 10**9
    table: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("alpha_s", "beta_s", "gamma_s", "delta_s"):
            not_negative(name, getattr(self, name))
        whole("max_batch", self.max_batch)
        whole("token_budget", self.token_budget, least=1, largest=10**9)
        whole("kv_tokens", self.kv_tokens, least=2, largest=10**12)
        if self.token_budget < self.max_batch:
            raise BadInput(
                f"token_budget is {self.token_budget}, below max_batch {self.max_batch}: "
                "a full batch of decoding sequences would not fit in an iteration"
            )
        if self.table is None and self.alpha_s + self.beta_s + self.gamma_s <= 0:
            raise BadInput("an iteration takes no time: give alpha_s, beta_s or gamma_s")

    def iteration_s(self, decodes: int, context_tokens: int, prefill_tokens: int) -> float:
        """Seconds of one iteration."""
        if self.table is not None:
            return float(interpolate(*self.table, decodes, context_tokens, prefill_tokens))
        work = self.beta_s * decodes + self.gamma_s * context_tokens + self.delta_s * prefill_tokens
        return self.alpha_s + work

    def holds(self, prompt_tokens: int, output_tokens: int) -> bool:
        """Whether a request fits into the KV cache by itself; its last token is never stored."""
        return prompt_tokens + output_tokens - 1 <= self.kv_tokens


def tabulated(
    time_s: IterationTime,
    *,
    max_batch: int = 256,
    token_budget: int = 8192,
    kv_tokens: int = 10**6,
    points: int = 24,
) -> Replica:
    """A replica whose iteration times come from any callable, evaluated once on a grid.

    Between the points the time is interpolated linearly in each of the three numbers; beyond the grid it is
    continued from its last cell. A callable that is linear in each is kept exactly.

    Parameters
    ----------
    time_s : callable
        (decodes, context tokens in sum, prefill tokens) to seconds: latency-predictor's, or one's own.
    points : int
        Points along each axis, close together near 0.

    Raises
    ------
    BadInput
        If a time is not positive and finite.
    """
    whole("points", points, least=2, largest=200)
    axes = [_axis(largest, points) for largest in (max_batch, kv_tokens, token_budget)]
    values = np.empty([axis.size for axis in axes])
    for index in np.ndindex(*values.shape):
        decodes, context, prefill = (int(axis[i]) for axis, i in zip(axes, index, strict=True))
        seconds = float(time_s(decodes, context, prefill))
        if not (math.isfinite(seconds) and seconds > 0) and decodes + prefill > 0:
            raise BadInput(
                f"the iteration time of {decodes} decodes, {context} context and {prefill} prefill tokens is "
                f"{seconds}; expected positive seconds"
            )
        values[index] = seconds
    return Replica(
        alpha_s=positive("iteration time", float(values[0, 0, -1])),
        max_batch=max_batch,
        token_budget=token_budget,
        kv_tokens=kv_tokens,
        table=(axes[0], axes[1], axes[2], values),
    )


def _axis(largest: int, points: int) -> np.ndarray:
    return np.unique(np.round(largest * np.linspace(0, 1, points) ** 2)).astype(float)


def interpolate(
    decodes: np.ndarray,
    contexts: np.ndarray,
    prefills: np.ndarray,
    values: np.ndarray,
    decode: float,
    context: float,
    prefill: float,
) -> float:
    """Trilinear, continued beyond the grid; plain enough for numba to compile."""
    i = min(max(int(np.searchsorted(decodes, decode, side="right")) - 1, 0), decodes.size - 2)
    j = min(max(int(np.searchsorted(contexts, context, side="right")) - 1, 0), contexts.size - 2)
    k = min(max(int(np.searchsorted(prefills, prefill, side="right")) - 1, 0), prefills.size - 2)
    u = (decode - decodes[i]) / (decodes[i + 1] - decodes[i])
    v = (context - contexts[j]) / (contexts[j + 1] - contexts[j])
    w = (prefill - prefills[k]) / (prefills[k + 1] - prefills[k])
    total = 0.0
    for a in range(2):
        for b in range(2):
            for c in range(2):
                share = (u if a else 1 - u) * (v if b else 1 - v) * (w if c else 1 - w)
                total += share * values[i + a, j + b, k + c]
    return total
