"""Batching without limits as a linear process: its means are exact, whatever the law of the lengths."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_MEMORY = 30.0
_MOST_POINTS = 1 << 17


@dataclass(frozen=True)
class Coefficients:
    """Seconds of an iteration: fixed, per decoding sequence, per token of its context, per prompt token."""

    alpha_s: float
    beta_s: float
    gamma_s: float
    delta_s: float


@dataclass(frozen=True)
class Unlimited:
    """One replica that takes everybody in at once.

    Attributes
    ----------
    iteration_s, itl_s : float
        Mean over iterations, and over generated tokens.
    first_token_s : float
        Mean time to the first token, iterations following each other even where nothing is to do.
    residual_s : float
        Of it, the rest of the iteration that an arrival finds.
    decoding : float
        Sequences decoding in an iteration.
    """

    iteration_s: float
    itl_s: float
    first_token_s: float
    residual_s: float
    decoding: float


def unlimited(
    rate_per_s: float, prompts: np.ndarray, outputs: np.ndarray, coefficients: Coefficients
) -> Unlimited:
    r"""Means and second moments of iterations that take in all arrivals of the one before.

    A request with prompt P and O tokens adds $h(0)=\delta P$ to the iteration of its prompt and
    $h(j)=\beta+\gamma(P+j-1)$ to the j-th after it, $j<O$. The arrivals of an iteration of length $T_k$ are
    Poisson with mean $\lambda T_k$ and are served in the next one, so that

    $$ T_k=\alpha+\lambda\sum_j \mathrm{E}h(j)\,T_{k-1-j}+\text{martingale differences}: $$

    a linear process (a Hawkes process in discrete time). Its mean is $\alpha/(1-\lambda\sum\mathrm{E}h)$ and
    its spectrum

    $$ f(\omega)=\lambda\,\mathrm{E}T\,
       \frac{\mathrm{E}|H(\omega)|^2}{|1-\lambda e^{-i\omega}\mathrm{E}H(\omega)|^2},
       \qquad H(\omega)=\sum_j h(j)e^{-i\omega j}, $$

    likewise with the number N that decodes. Then $\mathrm{ITL}=\mathrm{E}NT/\mathrm{E}N$, and the first
    token comes after $\mathrm{E}T^2/2\mathrm{E}T+\mathrm{E}T_kT_{k+1}/\mathrm{E}T+\delta\,\mathrm{E}P$.

    Parameters
    ----------
    rate_per_s : float
        Poisson arrivals, below $1/\sum\mathrm{E}h$.
    prompts, outputs : ndarray
        A sample of requests (n,), tokens >= 1.

    Notes
    -----
    Exact for the sample's joint law but for the wrap of the Fourier transform (e^-30 of the memory; more
    near the capacity). Cost O(n + L log L) for a longest output of L tokens.
    """
    decodes = (outputs - 1).astype(np.int64)
    own, numbers, squares, cross, cross_before = _kernels(prompts.astype(float), decodes, coefficients)
    load = rate_per_s * float(own.sum())
    mean = coefficients.alpha_s / (1 - load)
    memory = _MEMORY * float(decodes.mean() + 1) / (1 - load)
    points = 1 << math.ceil(math.log2(max(4 * own.size, min(memory, _MOST_POINTS))))
    first, count = np.fft.rfft(own, points), np.fft.rfft(numbers, points)
    turn = np.exp(-2j * np.pi * np.arange(points // 2 + 1) / points) * rate_per_s
    passed = 1 - turn * first
    power = np.fft.rfft(_two_sided(squares, squares, points)).real / np.abs(passed) ** 2
    mixed = np.fft.rfft(_two_sided(cross, cross_before, points))
    iterations = np.fft.irfft(power, points)[:2] * rate_per_s * mean
    with_number = np.fft.irfft(mixed / np.conj(passed) + turn * count * power, points)[0] * rate_per_s * mean
    decoding = rate_per_s * mean * float(decodes.mean())
    residual = (iterations[0] + mean**2) / (2 * mean)
    prompt = coefficients.delta_s * float(prompts.mean())
    return Unlimited(
        iteration_s=mean,
        itl_s=mean + float(with_number) / decoding if decoding > 0 else mean,
        first_token_s=float(residual + (iterations[1] + mean**2) / mean + prompt),
        residual_s=float(residual),
        decoding=decoding,
    )


def _kernels(prompts: np.ndarray, decodes: np.ndarray, c: Coefficients) -> tuple[np.ndarray, ...]:
    r"""E h(j), E n(j), and at lag d: E sum h h, E sum n(j+d) h(j), E sum n(j) h(j+d).

    With u = beta + gamma P, m = D - d terms remain of D decodes, and sums over m are repeated sums from the
    right over the law of D: those of 1, m, m(m-1)/2 and m(m-1)(m-2)/6.
    """
    length = int(decodes.max()) + 4
    one = c.beta_s + c.gamma_s * prompts
    law, weighted, square = (
        _rising(np.bincount(decodes, each, minlength=length) / decodes.size)
        for each in (np.ones(decodes.size), one, one * one)
    )
    prompt, prompt_one = (
        _from_right(np.bincount(decodes, each, minlength=length) / decodes.size)
        for each in (c.delta_s * prompts, c.delta_s * prompts * one)
    )
    lag = np.arange(length)
    later = np.maximum(lag - 1, 0)
    own = weighted[0] + c.gamma_s * later * law[0]
    own[0] = c.delta_s * prompts.mean()
    numbers = law[0].copy()
    numbers[0] = 0
    squares = square[1] + c.gamma_s * (2 * weighted[2] + lag * weighted[1])
    squares += c.gamma_s**2 * (law[2] + 2 * law[3] + lag * law[2])
    squares[1:] += (prompt_one + c.gamma_s * later * prompt)[1:]
    squares[0] += c.delta_s**2 * float((prompts * prompts).mean())
    cross = weighted[1] + c.gamma_s * law[2]
    before = cross + c.gamma_s * lag * law[1]
    cross[1:] += prompt[1:]
    return own, numbers, squares, cross, before


def _from_right(values: np.ndarray) -> np.ndarray:
    return np.cumsum(values[::-1])[::-1]


def _rising(law: np.ndarray) -> list[np.ndarray]:
    """At d the sums over D >= d of law(D) times 1, m, m(m-1)/2 and m(m-1)(m-2)/6, where m = D - d."""
    found, sums = [], law
    for order in range(4):
        sums = _from_right(sums)
        found.append(np.concatenate([sums[order:], np.zeros(order)]))
    return found


def _two_sided(after: np.ndarray, before: np.ndarray, points: int) -> np.ndarray:
    return np.concatenate([after, np.zeros(points - 2 * after.size + 1), before[1:][::-1]])
