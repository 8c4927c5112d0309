"""Requests on replicas that batch continuously, measured with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mfi_command import BadInput
from mm1_planner.inputs import whole
from mm1_planner.intervals import Estimate, percentiles, ratio
from mm1_planner.llm.iteration import Replica
from mm1_planner.models.answer import LEVELS
from mm1_planner.streams import ARRIVALS, stream

ROUTINGS = ("round-robin", "random", "least-requests")
_BATCHES = 20


@dataclass(frozen=True)
class LlmSimulation:
    """What requests saw.

    Attributes
    ----------
    requests, warmup : int
        Requests measured; requests before them that were left out.
    unserved : int
        Requests measured that no empty KV cache could hold; they count as late for every promise.
    iterations, preemptions : int
        Of all replicas together, warm-up included.
    busy : float
        Share of the time that a replica computes.
    mean_batch : float
        Decoding sequences of an iteration, averaged over busy time.
    mean_kv_tokens : float
        Tokens in the KV cache, averaged over busy time.
    tokens_per_s : float
        Generated tokens per second of all replicas.
    estimates : dict
        `mean_ttft_s p50_ttft_s ... mean_e2e_s ... mean_tpot_s ...` to their `Estimate`: time to the first
        token, to the last one, and per output token after the first (requests of one token have none).
    itl : dict
        `mean_itl_s p50_itl_s ...`: times between two tokens, over all tokens, within 0.3 %.
    """

    replicas: int
    routing: str
    requests: int
    warmup: int
    unserved: int
    iterations: int
    preemptions: int
    busy: float
    mean_batch: float
    mean_kv_tokens: float
    tokens_per_s: float
    estimates: dict[str, Estimate]
    itl: dict[str, float]
    ttft_s: np.ndarray
    e2e_s: np.ndarray

    def to_dict(self) -> dict[str, object]:
        """Plain data: each number by name, and 95 % intervals under `ci95`."""
        left_out = {"estimates", "itl", "ttft_s", "e2e_s"}
        common = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in left_out}
        values = {name: estimate.value for name, estimate in self.estimates.items()}
        intervals = {name: list(estimate.interval()) for name, estimate in self.estimates.items()}
        return common | values | self.itl | {"ci95": intervals}


def simulate_llm(
    arrivals_s: np.ndarray,
    prompt_tokens: np.ndarray,
    output_tokens: np.ndarray,
    replica: Replica,
    *,
    replicas: int = 1,
    routing: str = "round-robin",
    warmup: int = 0,
    seed: int = 0,
) -> LlmSimulation:
    """Serve requests on `replicas` equal replicas, iteration by iteration.

    Parameters
    ----------
    arrivals_s : ndarray
        Times of arrival, sorted, float64 seconds (n,).
    prompt_tokens, output_tokens : ndarray
        Whole numbers (n,), at least 1.
    routing : {"round-robin", "random", "least-requests"}
        Which replica a request goes to, decided when it arrives.
    warmup : int
        Requests at the start that are served but not measured.
    seed : int
        Of random routing.

    Raises
    ------
    BadInput
        If the arrays do not match, are not sorted, or hold anything but whole tokens.
    """
    from mm1_planner.llm.engine import Fleet

    arrivals, prompts, outputs = checked(arrivals_s, prompt_tokens, output_tokens)
    replicas, warmup = whole("replicas", replicas, largest=10_000), whole("warmup", warmup, least=0)
    if routing not in ROUTINGS:
        raise BadInput(f"routing is {routing!r}; expected one of {', '.join(ROUTINGS)}")
    if warmup >= arrivals.size:
        raise BadInput(f"warmup is {warmup}, but there are only {arrivals.size} requests")
    draws = stream(seed, 0, 0, ARRIVALS).random(arrivals.size) if routing == "random" else np.zeros(2)
    fleet = Fleet(
        arrivals, prompts, outputs, replica, replicas,
        routing=ROUTINGS.index(routing), draws=draws, first_counted=warmup,
    )  # fmt: skip
    fleet.advance(math.inf)
    firsts, lasts, histogram, totals = fleet.firsts_s, fleet.lasts_s, fleet.histogram, fleet.totals
    span = float(np.nanmax(lasts) - arrivals[0]) if np.isfinite(lasts).any() else math.nan
    busy = float(totals[1])
    late = np.isnan(lasts[warmup:])
    ttft, e2e = (firsts - arrivals)[warmup:], (lasts - arrivals)[warmup:]
    return LlmSimulation(
        replicas=replicas,
        routing=routing,
        requests=arrivals.size - warmup,
        warmup=warmup,
        unserved=int(late.sum()),
        iterations=int(totals[0]),
        preemptions=int(totals[3]),
        busy=busy / (span * replicas),
        mean_batch=float(totals[2]) / busy if busy else 0.0,
        mean_kv_tokens=float(totals[6]) / busy if busy else 0.0,
        tokens_per_s=float(outputs[np.isfinite(lasts)].sum()) / span,
        estimates=_estimates(ttft, e2e, lasts[warmup:] - firsts[warmup:], outputs[warmup:]),
        itl=_itl(histogram, totals),
        ttft_s=ttft,
        e2e_s=e2e,
    )


def checked(
    arrivals: np.ndarray, prompts: np.ndarray, outputs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sorted times and whole tokens, as the engine takes them.

    Raises
    ------
    BadInput
        If they are not.
    """
    times = np.ascontiguousarray(arrivals, dtype=float)
    if (
        times.ndim != 1
        or not times.size
        or np.shape(prompts) != times.shape
        or np.shape(outputs) != times.shape
    ):
        shapes = f"{np.shape(arrivals)}, {np.shape(prompts)} and {np.shape(outputs)}"
        raise BadInput(
            f"arrivals, prompts and outputs have shapes {shapes}; expected one number each a request"
        )
    if not np.isfinite(times).all() or (np.diff(times) < 0).any():
        raise BadInput("arrivals are not sorted finite times; expected seconds that never decrease")
    tokens = []
    for name, given in (("prompt", prompts), ("output", outputs)):
        numbers = np.asarray(given, dtype=float)
        if not (
            np.isfinite(numbers) & (numbers >= 1) & (numbers == np.floor(numbers)) & (numbers < 1e9)
        ).all():
            raise BadInput(
                f"{name} tokens are not all whole numbers from 1 to 1e9: clean or filter them first"
            )
        tokens.append(numbers.astype(np.int64))
    return times, tokens[0], tokens[1]


def _estimates(
    ttft: np.ndarray, e2e: np.ndarray, decoding: np.ndarray, outputs: np.ndarray
) -> dict[str, Estimate]:
    several = np.isfinite(decoding) & (outputs > 1)
    tpot = np.where(several, decoding / np.maximum(outputs - 1, 1), np.nan)
    edges = np.linspace(0, ttft.size, _BATCHES + 1).astype(int)
    slices = [slice(low, high) for low, high in pairwise(edges)]
    found: dict[str, Estimate] = {}
    for name, times in (("ttft", ttft), ("e2e", e2e), ("tpot", tpot)):
        batches = [times[part][np.isfinite(times[part])] for part in slices]
        sums = np.array([batch.sum() for batch in batches])
        found[f"mean_{name}_s"] = ratio(sums, np.array([float(batch.size) for batch in batches]))
        for level, estimate in zip(LEVELS, percentiles(batches, list(LEVELS.values())), strict=True):
            found[f"{level}_{name}_s"] = estimate
    return found


def _itl(histogram: np.ndarray, totals: np.ndarray) -> dict[str, float]:
    from mm1_planner.llm.engine import bin_middles_s

    number = int(histogram.sum())
    if not number:
        return {"mean_itl_s": math.nan} | {f"{level}_itl_s": math.nan for level in LEVELS}
    reached = np.cumsum(histogram)
    middles = bin_middles_s()
    places = {
        name: int(np.searchsorted(reached, math.ceil(level * number))) for name, level in LEVELS.items()
    }
    return {"mean_itl_s": float(totals[4] / totals[5])} | {
        f"{name}_itl_s": float(middles[i]) for name, i in places.items()
    }
