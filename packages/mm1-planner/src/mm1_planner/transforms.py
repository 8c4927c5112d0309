"""What of each service law the formulas of one server need: the transform of the time left of a service.

A customer who finds the server busy finds a service with a random part of it left; with mean m and tail G
that time has density G(t)/m. Its Laplace transform is 1 - delta(s), and delta is what is computed here,
without a difference from 1: it is about s E[S^2] / (2 m) where s is small, which decides long waits.
"""

from __future__ import annotations

import math

import numpy as np

# Where |y| is below this, sums of powers replace differences of nearly equal numbers.
_SMALL = 0.5
_TERMS = 18
# Standard deviations and points of the trapezoidal rule: e^(-9.5²/2) is 3e-20.
_REACH, _POINTS = 9.5, 201


def one_minus_mean_decay(y: np.ndarray) -> np.ndarray:
    r"""$1-\frac{1-e^{-y}}{y}=\frac y2-\frac{y^2}6+\dots$, complex, without cancellation; Re y >= 0."""
    size = np.abs(y)
    result = np.empty(y.shape, dtype=complex)
    small = size < _SMALL
    z = y[small]
    series = np.zeros_like(z)
    for n in range(_TERMS, 1, -1):
        series = (1 - series) * z / n
    result[small] = series
    large = ~small
    z = y[large]
    result[large] = 1 - (1 - np.exp(-z)) / z
    return result


def gamma_deficit(s: np.ndarray, mean_s: float, scv: float) -> np.ndarray:
    r"""For the gamma law: $1-\frac{1-(1+\theta s)^{-k}}{sm}$ with $k=1/c^2$, $\theta=m c^2$."""
    shape, scale = 1 / scv, mean_s * scv
    y = scale * s
    small = np.abs(y) < _SMALL / max(1.0, shape / 4)
    safe = np.where(small, 1.0, y)
    direct = 1 + np.expm1(-shape * np.log1p(safe)) / (shape * safe)
    # -sum over n >= 2 of binomial(-k, n) y^n / (k y), term by term.
    z = np.where(small, y, 0.0)
    term = np.ones_like(z)
    total = np.zeros_like(z)
    for n in range(2, 60):
        term = -term * z * (shape + n - 1) / n
        total = total - term
    return np.where(small, total, direct)


def lognormal_deficit(s: np.ndarray, location: float, sigma: float) -> np.ndarray:
    r"""For the lognormal law: $E\bigl[\tfrac Sm\,(1-\tfrac{1-e^{-sS}}{sS})\bigr]$.

    The trapezoidal rule in $\log S$, size-biased (mean shifted by sigma²), along a ray turned against the
    argument of s, so that $e^{-sS}$ fades before it oscillates: spectral accuracy, for Re s >= 0.
    """
    # A narrow law does not oscillate, and turned as far its weights would cancel.
    turn = np.angle(s)[:, None] / 2 * min(1.0, sigma)
    u = np.linspace(-_REACH, _REACH, _POINTS)
    # log S = location + sigma^2 + sigma u - i turn: the contour is moved, not the law.
    step = (u[1] - u[0]) / math.sqrt(2 * math.pi)
    weights = np.exp(-u * u / 2 + (1j * u + turn / (2 * sigma)) * (turn / sigma)) * step
    y = (s[:, None] * np.exp(-1j * turn)) * np.exp(location + sigma**2 + sigma * u)
    return np.asarray((weights * one_minus_mean_decay(y)).sum(axis=1))


def measured_deficit(s: np.ndarray, times_s: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """For a finite number of service times with their counts, in blocks that need little memory."""
    weights = times_s * counts / float(times_s @ counts)
    found = np.zeros(s.shape, dtype=complex)
    for start in range(0, times_s.size, 1 << 14):
        block = slice(start, start + (1 << 14))
        found += one_minus_mean_decay(s[:, None] * times_s[block]) @ weights[block]
    return found
