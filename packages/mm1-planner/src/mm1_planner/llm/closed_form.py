"""Means of a replica that batches continuously, without simulating it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np

from mfi_command import BadInput
from mm1_planner.inputs import positive
from mm1_planner.llm.chunks import Prompts, extra_s
from mm1_planner.llm.iteration import Replica
from mm1_planner.llm.linear import Coefficients, Unlimited, unlimited
from mm1_planner.llm.room import Groups, Slots, slots
from mm1_planner.models.heavy_share import heavy_share

_LONGEST = 1 << 18
_SELDOM, _OFTEN = 1e-6, 0.01
_DOUBT = 0.03
"""Between the ITLs of the linear process and of the law of the slots, where the batch is often full."""
_WORTH = 1.05
"""A batch of twice the size that serves less than 5 % more is limited by computing, not by its size."""
_HIGHEST = 0.9
_STEEP = 0.9


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
        Whether the errors were measured, on scenarios held out: within 3 % (ITL) and 15 % (mean TTFT). Loads
        up to 0.9 of the capacity, of four coefficients, and requests that hardly ever wait for the KV cache;
        and where the batch is often full, two ways to the ITL that agree. Elsewhere, simulate.
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
    """A sample of requests and what it brings on average."""

    prompts: np.ndarray
    outputs: np.ndarray
    replica: Replica

    @property
    def prompt(self) -> float:
        return float(self.prompts.mean())

    @property
    def prompt_scv(self) -> float:
        return float(self.prompts.var()) / self.prompt**2

    @property
    def output(self) -> float:
        return float(self.outputs.mean())

    @property
    def decodes(self) -> float:
        return self.output - 1

    @property
    def context(self) -> float:
        """Context that a decoded token finds: long outputs count by their square."""
        p, d = self.prompts, self.outputs - 1
        return float((p * d + d * (d - 1) / 2).mean()) / self.decodes if self.decodes > 0 else self.prompt

    @property
    def held_tokens(self) -> float:
        """Of the KV cache, by a request while it is in the batch."""
        d = self.outputs - 1
        return float((self.prompts * self.outputs + d * (d + 1) / 2).mean()) / self.output

    @property
    def together(self) -> float:
        """2 E min(D, D') / E D of decodes: 1 for geometric outputs, 2 for equal ones."""
        if self.decodes <= 0:
            return 1.0
        ordered = np.sort(self.outputs - 1)
        smaller = float(ordered @ (2.0 * np.arange(ordered.size, 0, -1) - 1)) / ordered.size**2
        return 2 * smaller / self.decodes

    def plain_s(self, batch: np.ndarray) -> np.ndarray:
        """Seconds of an iteration with so many in the batch, all but the share in its prompt decoding."""
        decoding = batch * (self.decodes / self.output)
        r = self.replica
        if r.table is None:
            return np.asarray(r.alpha_s + (r.beta_s + r.gamma_s * self.context) * decoding)
        times = [_between(r, float(n), self.context) for n in decoding]
        return np.asarray(np.maximum(times, 1e-12))

    def token_s(self) -> float:
        """Seconds of a prompt token."""
        if self.replica.table is None:
            return self.replica.delta_s
        tokens, context = max(1, round(self.prompt)), round(self.context)
        times = [self.replica.iteration_s(1, context, count) for count in (0, tokens)]
        return max(times[1] - times[0], 0.0) / tokens


def llm_answer(
    rate_per_s: float, prompt_tokens: np.ndarray, output_tokens: np.ndarray, replica: Replica
) -> LlmAnswer:
    r"""Mean TTFT, ITL and batch of one replica under Poisson arrivals.

    Without limits the iterations are a linear process whose first two moments are exact (`llm.linear`). What
    limits add to it: the wait for a place in the batch, from a birth-death law of the requests in the
    replica (`llm.room`), times what the variance of the work makes of the wait of M/G/c; the iterations that
    a token budget makes of a long prompt, from a Markov chain of the tokens that wait (`llm.chunks`); and an
    idle replica begins at once. The capacity is

    $$ \lambda_{\max}=\frac{N}{\mathrm{E}O\;T_N+N\delta\,\mathrm{E}P} $$

    for the N sequences that batch, KV cache and token budget leave, of which $N(\mathrm{E}O-1)/\mathrm{E}O$
    decode.

    Parameters
    ----------
    rate_per_s : float
        Poisson arrivals at this replica.
    prompt_tokens, output_tokens : ndarray
        A sample of requests (n,), tokens >= 1: a trace, or draws of a law.

    Returns
    -------
    LlmAnswer
        `benchmarks/llm_closed_form.py` measures its error against `simulate_llm`. It knows no preemptions:
        simulate where the KV cache is what is short. A table of times is taken as linear around the mean.

    Raises
    ------
    BadInput
        If the rate is not positive, the samples are not tokens, or an output is longer than 262,144.

    Notes
    -----
    Cost O(n + L log L) for a longest output of L tokens: milliseconds. E n/(lambda E(O-1)) is the ITL, by
    Little.
    """
    rate = positive("rate", rate_per_s)
    work = _work(prompt_tokens, output_tokens, replica)
    most, limited_by = _largest_batch(work)
    capacity = _capacity(work, most)
    token_s = work.token_s()
    prefill = rate * token_s * work.prompt
    overloaded = LlmAnswer(
        False, capacity, limited_by, min(prefill, 1.0), math.inf, math.inf, math.inf, math.inf, True
    )
    if rate >= capacity:
        return overloaded
    linear = _coefficients(work, rate, prefill, token_s)
    free = unlimited(rate, work.prompts, work.outputs, linear)
    most_slots, why = _slots(work)
    batch = _in_the_batch(work, rate, prefill, token_s, most_slots)
    itl = min(free.itl_s, float(most_slots / (work.output * _capacity(work, float(most_slots)))))
    prompts = Prompts(
        rate,
        work.prompts,
        token_s,
        float(work.plain_s(np.array([free.decoding * work.output / max(work.decodes, 1.0)]))[0]),
        max(replica.token_budget - free.decoding, 1.0),
    )
    ttft = _first_token_s(work, rate, free, linear, batch, itl) + extra_s(prompts)
    if batch.full > _SELDOM:
        ttft += batch.line / rate * _length_factor(work, rate, token_s, most_slots)
    if not math.isfinite(ttft):
        return overloaded
    short = why == "kv cache" and batch.full > _SELDOM
    # By Little's law of those in a slot; that a full batch holds prompts back the other does not know.
    doubt = abs(batch.busy / (rate * work.output) / itl - 1) if batch.full > _OFTEN else 0.0
    return LlmAnswer(
        True,
        capacity,
        limited_by,
        prefill,
        rate * work.decodes * itl,
        ttft,
        itl,
        ttft + work.decodes * itl,
        declared=rate <= _HIGHEST * capacity and replica.table is None and not short and doubt <= _DOUBT,
    )


def _work(prompts: np.ndarray, outputs: np.ndarray, replica: Replica) -> _Work:
    p, o = np.asarray(prompts, dtype=float), np.asarray(outputs, dtype=float)
    if p.ndim != 1 or p.shape != o.shape or not p.size:
        raise BadInput(
            f"prompts and outputs have shapes {p.shape} and {o.shape}; expected one number each a request"
        )
    if not (np.isfinite(p).all() and np.isfinite(o).all() and p.min() >= 1 and o.min() >= 1):
        raise BadInput(
            "prompt and output tokens are not all finite and at least 1: clean or filter them first"
        )
    if o.max() > _LONGEST:
        raise BadInput(f"an output of {o.max():.0f} tokens; expected at most {_LONGEST}")
    return _Work(p, np.round(o), replica)


def _slots(work: _Work) -> tuple[int, str]:
    """Sequences that may be in the batch, and what says so."""
    cached = max(work.replica.kv_tokens / work.held_tokens, 1.0)
    return (int(cached), "kv cache") if cached < work.replica.max_batch else (work.replica.max_batch, "batch")


def _largest_batch(work: _Work) -> tuple[float, str]:
    count, name = _slots(work)
    # In equilibrium an iteration holds decodes and prompt tokens as the requests do.
    budget = max(work.replica.token_budget * work.output / (work.decodes + work.prompt), 1.0)
    most, name = (budget, "token budget") if budget < count else (float(count), name)
    gain = _capacity(work, most) / _capacity(work, max(most / 2, 1.0))
    return most, name if gain > _WORTH or most <= 1 else "compute"


def _capacity(work: _Work, batch: float) -> float:
    iteration = float(work.plain_s(np.array([batch]))[0])
    return batch / (work.output * iteration + batch * work.token_s() * work.prompt)


def _coefficients(work: _Work, rate: float, prefill: float, token_s: float) -> Coefficients:
    """Of the replica; of a table the tangent where its decodes settle."""
    r = work.replica
    if r.table is None:
        return Coefficients(r.alpha_s, r.beta_s, r.gamma_s, r.delta_s)
    low, high = 0.0, float(r.max_batch)
    for _ in range(60):
        middle = (low + high) / 2
        settled = rate * work.output * float(work.plain_s(np.array([middle]))[0]) / (1 - prefill)
        low, high = (middle, high) if settled > middle else (low, middle)
    around = np.array([0.9 * low, low, 1.1 * low + 0.1])
    times = work.plain_s(around) * 1.0
    around = around * (work.decodes / work.output)
    slope = max((times[2] - times[0]) / max(around[2] - around[0], 1e-12), 0.0)
    slope = min(slope, _STEEP * times[1] / max(around[1], 1e-12))
    return Coefficients(float(times[1] - slope * around[1]), float(slope), 0.0, token_s)


def _in_the_batch(work: _Work, rate: float, prefill: float, token_s: float, most: int) -> Slots:
    numbers = np.arange(1.0, most + 1)
    departures = numbers / (work.output * work.plain_s(numbers))
    pause = token_s * work.prompt * _capacity(work, float(most))
    return slots(rate, departures, Groups(prefill, work.prompt_scv, work.together), pause=pause)


def _first_token_s(
    work: _Work, rate: float, free: Unlimited, linear: Coefficients, batch: Slots, itl: float
) -> float:
    """Without the wait for room: those who wait for it find a place at the end of an iteration."""
    own = linear.delta_s * work.prompt
    spinning = linear.alpha_s * (1.5 + rate * own)
    alone = float(work.plain_s(np.zeros(1))[0])
    idle = batch.idle * (1 - rate * own)
    seconds = free.first_token_s - idle * (spinning - alone)
    return (seconds - batch.full * free.residual_s) * itl / free.itl_s


def _length_factor(work: _Work, rate: float, token_s: float, most: int) -> float:
    """What the variance of the work makes of the wait for room, as of the wait of M/G/c.

    Sharing does not feel the law of the work, a line in front of a full batch does: by (1 + scv) / 2 in heavy
    traffic, less below. A request works by its prompt, alone, and by its tokens, with the others.
    """
    iteration = float(work.plain_s(np.array([float(most)]))[0])
    demand = token_s * work.prompts + work.outputs * (iteration / most)
    scv = float(demand.var()) / float(demand.mean()) ** 2
    return 1 + heavy_share(rate * float(demand.mean()), most) * (scv - 1) / 2


def _between(replica: Replica, decodes: float, context: float) -> float:
    """A table's time for a number of decodes that need not be whole."""
    from mm1_planner.llm.iteration import interpolate

    assert replica.table is not None
    return float(interpolate(*replica.table, decodes, decodes * context, 0.0))
