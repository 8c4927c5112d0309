"""Means of a replica that batches continuously, without simulating it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np

from mfi_command import BadInput
from mm1_planner.inputs import positive
from mm1_planner.llm.iteration import Replica
from mm1_planner.models.heavy_share import heavy_share

_NEGLIGIBLE = 1e-13
_LONGEST = 200_000
_HIGHEST, _PROMPTS, _LINE, _ONE_LENGTH = 0.85, 0.3, 0.2, 0.01
_SHORT = 1e-3
"""A wait for room that is a smaller share of the time to the first token is left as it is."""


@dataclass(frozen=True)
class LlmAnswer:
    """Means of one replica in equilibrium; infinite where it is overloaded.

    Attributes
    ----------
    stable : bool
        Whether the rate is below the capacity.
    capacity_per_s : float
        The rate that this replica can serve at most.
    limited_by : str
        What its capacity ends at: `compute` (iterations grow as fast as the batch), `batch`, `kv cache` or
        `token budget`.
    prefill_share : float
        Share of the time that goes into prompts.
    mean_batch : float
        Decoding sequences, over all time.
    mean_ttft_s, mean_itl_s, mean_e2e_s : float
        Time to the first token, between two tokens, to the last token.
    declared : bool
        Whether the errors are known to be within 3 % (ITL) and 15 % (TTFT): loads up to 0.85 of the capacity,
        and not outputs of one length with more than 0.3 of the time in prompts or a fifth of the TTFT in the
        wait for room, since sequences that came together stay together. Elsewhere, simulate.
    """

    stable: bool
    capacity_per_s: float
    limited_by: str
    prefill_share: float
    mean_batch: float
    mean_ttft_s: float
    mean_itl_s: float
    mean_e2e_s: float
    declared: bool

    def to_dict(self) -> dict[str, object]:
        """Plain data with the same names."""
        return asdict(self)


@dataclass(frozen=True)
class _Work:
    """Moments of the requests: what decodes and prompts bring."""

    decodes: float
    context: float
    decodes_scv: float
    prompt: float
    prompt_square: float

    @property
    def prompt_scv(self) -> float:
        return self.prompt_square / self.prompt**2 - 1


def llm_answer(
    rate_per_s: float, prompt_tokens: np.ndarray, output_tokens: np.ndarray, replica: Replica
) -> LlmAnswer:
    r"""Mean TTFT, ITL and batch of one replica under Poisson arrivals.

    Decoding is processor sharing: n sequences make an iteration of $T_n=\alpha+(\beta+\gamma\bar c)n$, where

    $$ \bar c = \frac{E[P(O-1)] + E[O(O-1)]/2}{E[O-1]} $$

    is the context that a decoded token finds: long outputs count by their square. Prompts stop all decodes
    for $\varphi=\lambda\delta E[P]$ of the time; in the time left, sequences join in groups: those that
    arrived while the prompts of earlier ones ran (a branching process with mean offspring $\varphi$). With
    groups of $X$ and departures at rate $n/(E[O-1]\,T_n)$ the law of n solves

    $$ \pi_{n+1}\frac{\min(n+1,N)}{E[O-1]\,T_{\min(n+1,N)}} = \lambda\sum_{j\le n}\pi_j P(X>n-j), $$

    and Little gives the time between tokens, $E[n]/(\lambda E[O-1])$. The first token waits for the iteration
    in progress (its residual time, with the variance that prompts give it), for its own iteration with all
    prompts that came meanwhile, and for room in the batch, where the variance of the outputs counts as in
    M/G/c.

    Parameters
    ----------
    rate_per_s : float
        Poisson arrivals at this replica.
    prompt_tokens, output_tokens : ndarray
        A sample of requests (n,), tokens >= 1: a trace, or draws of a law.

    Returns
    -------
    LlmAnswer
        `benchmarks/llm_closed_form.py` measures its error against `simulate_llm`. It knows neither
        preemptions nor prompts cut into many chunks; simulate where either is frequent.

    Raises
    ------
    BadInput
        If the rate is not positive, or the samples are not tokens.

    Notes
    -----
    Cost O(longest batch). Processor sharing with state-dependent rates is insensitive to the law of the work
    (Kelly, Reversibility and Stochastic Networks, section 3.3), which is why only means of O enter E[n].
    """
    rate = positive("rate", rate_per_s)
    work = _moments(prompt_tokens, output_tokens)
    most, limited_by = _largest_batch(work, replica)
    delta_s = _prompt_token_s(work, replica)
    fastest = most / (work.decodes * float(_iteration_s(np.array([most]), work, replica)[0]))
    capacity = 1 / (1 / fastest + delta_s * work.prompt)
    prefill = rate * delta_s * work.prompt
    if rate >= capacity:
        return LlmAnswer(
            False, capacity, limited_by, min(prefill, 1.0), math.inf, math.inf, math.inf, math.inf, True
        )
    law = _batch_law(rate, prefill, work, most, replica)
    batch = np.minimum(np.arange(law.size), most)
    decoding = float(batch @ law) + prefill * _earlier_prompts(prefill, work.prompt_scv)
    itl = decoding / (rate * work.decodes)
    ttft = _first_token_s(rate, prefill, delta_s, work, batch, law, replica)
    room = float((np.arange(law.size) - batch) @ law) / rate
    if room > _SHORT * ttft:
        room *= _length_factor(rate / (fastest * (1 - prefill)), most, work)
    ttft += room
    in_step = work.decodes_scv < _ONE_LENGTH and (prefill > _PROMPTS or room > _LINE * ttft)
    return LlmAnswer(
        True,
        capacity,
        limited_by,
        prefill,
        decoding,
        ttft,
        itl,
        ttft + work.decodes * itl,
        declared=not in_step and rate <= _HIGHEST * capacity,
    )


def _length_factor(load: float, most: float, work: _Work) -> float:
    """What the variance of the outputs makes of the wait for room, as of the wait of M/G/c.

    Sharing does not feel the law of the work, a line in front of a full batch does: by (1 + scv) / 2 in heavy
    traffic, less below.
    """
    return 1 + heavy_share(load, max(1, int(most))) * (work.decodes_scv - 1) / 2


def _moments(prompts: np.ndarray, outputs: np.ndarray) -> _Work:
    p, o = np.asarray(prompts, dtype=float), np.asarray(outputs, dtype=float)
    if p.ndim != 1 or p.shape != o.shape or not p.size:
        raise BadInput(
            f"prompts and outputs have shapes {p.shape} and {o.shape}; expected one number each a request"
        )
    if not (np.isfinite(p).all() and np.isfinite(o).all() and p.min() >= 1 and o.min() >= 1):
        raise BadInput(
            "prompt and output tokens are not all finite and at least 1: clean or filter them first"
        )
    # Where nothing is ever decoded, a vanishing share stands for it.
    decodes = max(float((o - 1).mean()), 1e-9)
    context = float((p * (o - 1) + o * (o - 1) / 2).mean()) / decodes
    scv = float((o - 1).var()) / decodes**2
    return _Work(decodes, max(context, 1.0), scv, float(p.mean()), float((p * p).mean()))


def _largest_batch(work: _Work, replica: Replica) -> tuple[float, str]:
    limits = {
        "batch": float(replica.max_batch),
        "kv cache": max(replica.kv_tokens / work.context, 1.0),
        # Each finished sequence lets one prompt in: n E[P] / E[O-1] prompt tokens beside n decodes.
        "token budget": max(replica.token_budget / (1 + work.prompt / work.decodes), 1.0),
    }
    name = min(limits, key=lambda each: limits[each])
    gain = limits[name] * float(_iteration_s(np.array([limits[name] / 2]), work, replica)[0])
    gain /= limits[name] / 2 * float(_iteration_s(np.array([limits[name]]), work, replica)[0])
    return limits[name], name if gain > _WORTH else "compute"


_WORTH = 1.05
"""A batch of twice the size that serves less than 5 % more is limited by computing, not by its size."""


def _iteration_s(batch: np.ndarray, work: _Work, replica: Replica) -> np.ndarray:
    if replica.table is None:
        return np.asarray(replica.alpha_s + (replica.beta_s + replica.gamma_s * work.context) * batch)
    times = [replica.iteration_s(n, round(n * work.context), 0) for n in batch]
    return np.asarray(np.maximum(times, 1e-12))


def _prompt_token_s(work: _Work, replica: Replica) -> float:
    if replica.table is None:
        return replica.delta_s
    tokens = round(work.prompt)
    return (
        max(
            replica.iteration_s(1, round(work.context), tokens)
            - replica.iteration_s(1, round(work.context), 0),
            0,
        )
        / tokens
    )


def _batch_law(rate: float, prefill: float, work: _Work, most: float, replica: Replica) -> np.ndarray:
    """Probability of n sequences decoding or waiting for room, in the time that prompts leave."""
    beyond, ratio = _groups(prefill, work.prompt_scv)
    largest = math.ceil(most)
    numbers = np.minimum(np.arange(1, largest + 2), most)
    departures = numbers / (work.decodes * _iteration_s(numbers, work, replica))
    law, earlier, total, top = [1.0], 0.0, 1.0, 1.0
    for n in range(_LONGEST):
        here = law[-1]
        following = rate * (here + beyond * earlier) / departures[min(n, largest)]
        earlier = here + ratio * earlier
        law.append(following)
        total += following
        top = max(top, following)
        if n >= largest and following < _NEGLIGIBLE * top:
            break
        if following > 1e250:
            law = [each / 1e250 for each in law]
            earlier, total, top = earlier / 1e250, total / 1e250, top / 1e250
    return np.array(law) / sum(law)


def _groups(prefill: float, scv: float) -> tuple[float, float]:
    r"""a and q of P(X > k) = a q^(k-1), k >= 1, with the mean and variance of all descendants of one arrival.

    Total progeny of a branching process with mean offspring phi and variance phi + phi² scv.
    """
    if prefill <= 0:
        return 0.0, 0.0
    mean = 1 / (1 - prefill)
    variance = prefill * (1 + prefill * scv) / (1 - prefill) ** 3
    ratio = max(0.0, 1 - 2 * (mean - 1) / (variance + mean**2 - mean))
    return (mean - 1) * (1 - ratio), ratio


def _earlier_prompts(prefill: float, scv: float) -> float:
    """Sequences of the same group that decode already while the prompts of a later generation run."""
    squares = 1 / (1 - prefill**2)
    spread = prefill * (1 + prefill * scv) / (1 - prefill)
    return prefill * (squares + spread * (1 / (1 - prefill) - prefill / (1 - prefill**2)))


def _first_token_s(
    rate: float,
    prefill: float,
    delta_s: float,
    work: _Work,
    batch: np.ndarray,
    law: np.ndarray,
    replica: Replica,
) -> float:
    """Residual time of the iteration in progress, and the own one with what came meanwhile."""
    plain = _iteration_s(batch, work, replica)
    mean = plain / (1 - prefill)
    # An iteration computes the prompts that came during the one before: an autoregression in its length.
    variance = delta_s**2 * work.prompt_square * rate * mean / (1 - prefill**2)
    residual = (mean**2 + variance) / (2 * mean)
    alone = plain[0] + delta_s * work.prompt
    busy = rate * alone / (1 + rate * alone)
    residual[0] = busy * (alone + delta_s**2 * (work.prompt_square - work.prompt**2) / alone) / 2
    chunks = np.maximum(work.prompt / np.maximum(replica.token_budget - batch, 1.0), 1.0) - 1
    own = plain * (1 + chunks) + delta_s * work.prompt * (1 + 2 * rate * residual)
    return float(law @ (residual + own))
