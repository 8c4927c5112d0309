"""What a token budget adds to the first token: prompts that are cut, and those behind them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_POINTS, _WIDER = 320, 4
_FEWEST = 12
_SPREAD = 6.0
_STILL = 1e-9


@dataclass(frozen=True)
class Prompts:
    """Prompts that come to a replica.

    Attributes
    ----------
    rate_per_s : float
        Poisson arrivals.
    tokens : ndarray
        A sample of their lengths (n,).
    token_s : float
        Seconds of one token.
    plain_s : float
        Seconds of an iteration without prompts.
    room : float
        Prompt tokens that fit in an iteration.
    """

    rate_per_s: float
    tokens: np.ndarray
    token_s: float
    plain_s: float
    room: float


def extra_s(prompts: Prompts) -> float:
    r"""Mean time to the first token with the budget, less the one without.

    The tokens V that wait for an iteration are a Markov chain: the iteration computes $\min(V,W)$ of them and
    takes $T=t+\delta\min(V,W)$, in which a compound Poisson number of tokens arrives. It is solved on a
    grid; an arrival sees V weighted with T, has what came before it in its iteration ahead of it, and needs
    $\lceil X/W\rceil$ iterations for what is ahead and its own prompt X. Without a budget T is an
    autoregression with known moments. The number that decodes is held at its mean.

    Returns
    -------
    float
        0 where hardly an iteration reaches the budget; infinite where prompts come faster than it lets in.

    Notes
    -----
    Cost O(g^3 + n) for a grid of g = 320 points: milliseconds.
    """
    p = prompts
    mean, square = float(p.tokens.mean()), float((p.tokens.astype(float) ** 2).mean())
    share = p.rate_per_s * p.token_s * mean
    if share >= 1:
        return math.inf
    iteration = p.plain_s / (1 - share)
    variance = p.rate_per_s * square * iteration  # of the tokens in an iteration
    spread = math.sqrt(variance / (1 - share**2))
    if p.rate_per_s * mean * iteration + _SPREAD * spread + _WIDER * square / mean < p.room:
        return 0.0
    longest = p.plain_s + p.token_s * p.room
    load = p.rate_per_s * mean * longest / p.room
    if load >= 1:
        return math.inf
    decay = p.rate_per_s * square * longest / (2 * p.room * (1 - load))
    span = max(4 * p.room, p.room + 16 * decay, 2 * p.room + 8 * square / mean)
    residual = (iteration**2 + variance / (1 - share**2) * p.token_s**2) / (2 * iteration)
    without = residual + p.plain_s + p.token_s * mean + share * 2 * residual
    return max(_first_token_s(p, max(_FEWEST, int(_POINTS * p.room / span))) - without, 0.0)


def _first_token_s(p: Prompts, cells: int) -> float:
    """With the budget, on a grid of `cells` to the room of an iteration."""
    step, points = p.room / cells, _WIDER * _POINTS
    places = np.minimum(p.tokens / step, points - 2)
    lower = places.astype(np.int64)
    law = np.bincount(lower, 1 - places + lower, minlength=points)
    law += np.bincount(lower + 1, places - lower, minlength=points)
    jump = np.fft.rfft(law / p.tokens.size) - 1
    times = p.plain_s + p.token_s * step * np.arange(cells + 1)
    exponent = p.rate_per_s * times[:, None] * jump[None]
    coming = np.exp(exponent)
    weights = _stationary(np.maximum(np.fft.irfft(coming, points, axis=1), 0.0), cells)
    weights *= times[np.minimum(np.arange(_POINTS), cells)]
    weights /= weights.sum()
    mean_s = float(weights @ times[np.minimum(np.arange(_POINTS), cells)])
    still = np.abs(exponent) < _STILL
    # Of those that come before a moment drawn evenly from the iteration.
    before = np.where(still, 1.0, (coming - 1) / np.where(still, 1.0, exponent))
    left = np.fft.rfft(weights[cells:], points)
    ahead, all_of_it = (
        np.maximum(
            np.fft.irfft((weights[:cells] @ each[:cells] + each[cells] * left) * (jump + 1), points), 0
        )
        for each in (before, coming)
    )
    ahead, all_of_it = ahead / ahead.sum(), all_of_it / all_of_it.sum()
    grid = np.arange(points)
    needed = np.maximum(np.ceil(grid / cells), 1.0)
    several = needed >= 2
    behind = p.rate_per_s * float(p.tokens.mean()) / step
    behind = behind * ((needed - 1) * times[-1] + mean_s / 2)
    last = np.minimum(grid - (needed - 1) * cells + behind, cells)
    computed = float(np.minimum(grid, cells) @ all_of_it) - cells * float(ahead[several].sum())
    computed += float((((needed - 1) * cells + last) * ahead)[several].sum())
    return mean_s / 2 + p.plain_s * float(needed @ ahead) + p.token_s * step * computed


def _stationary(coming: np.ndarray, cells: int) -> np.ndarray:
    """Of the waiting tokens: what is beyond the room stays, and what comes while it is computed joins."""
    moves = np.zeros((_POINTS, _POINTS))
    for waiting in range(_POINTS):
        stays, row = max(waiting - cells, 0), coming[min(waiting, cells)]
        moves[waiting, stays:] = row[: _POINTS - stays]
        moves[waiting, -1] += row[_POINTS - stays :].sum()
    moves /= moves.sum(axis=1, keepdims=True)
    equations = moves.T - np.eye(_POINTS)
    equations[-1] = 1.0
    return np.linalg.solve(equations, np.eye(_POINTS)[-1])
