"""M/M/c and M/G/c for arrays of configurations at once."""

from __future__ import annotations

import numpy as np

from mm1_planner.models.answer import LEVELS

_HALVINGS = 60


def sweep_formula(
    arrival_rate_per_s: np.ndarray,
    mean_service_s: np.ndarray,
    servers: np.ndarray,
    scv: np.ndarray | float = 1.0,
) -> dict[str, np.ndarray]:
    r"""Means and percentiles of many queues with Poisson arrivals.

    Parameters
    ----------
    arrival_rate_per_s, mean_service_s, servers, scv : ndarray
        float64 or int64, broadcast against each other to (n,).

    Returns
    -------
    dict
        Arrays (n,): `stable utilization wait_probability mean_wait_s mean_sojourn_s`, `p50_wait_s ...
        p999_wait_s`, and where the service is exponential `p50_sojourn_s ... p999_sojourn_s` (NaN
        elsewhere). Infinite where the load is 1 or more.

    Notes
    -----
    Erlang's B is $e^{-a}a^c/c!\,/\,Q(c+1,a)$ with Q the regularized incomplete gamma function. For scv 1
    exact, to a relative 1e-9 up to 1e4 servers against `MMc`; for others Lee and Longton's approximation, as
    `MGc`. Cost O(n): 10,000 configurations take a fraction of a second.

    Examples
    --------
    >>> float(sweep_formula(np.array([10.0]), np.array([0.3]), np.array([5]))["p99_wait_s"][0]) < 0.5
    True
    """
    rate, mean, count, variation = (
        np.array(each, dtype=np.float64)
        for each in np.broadcast_arrays(arrival_rate_per_s, mean_service_s, servers, scv)
    )
    load = rate * mean
    stable = load < count
    # Where nothing is stable any load below the servers keeps the arithmetic finite; the answer is replaced.
    work = np.where(stable, load, count / 2)
    wait_probability = _erlang_c(work, count)
    stretch = (1 + variation) / 2
    # 1/theta is the mean wait of those who wait.
    theta = (count - work) / mean / stretch
    found = {"wait_probability": wait_probability, "mean_wait_s": wait_probability / theta}
    found["mean_sojourn_s"] = found["mean_wait_s"] + mean
    exponential = variation == 1
    for name, level in LEVELS.items():
        beyond = np.maximum(wait_probability / (1 - level), 1.0)
        found[f"{name}_wait_s"] = np.log(beyond) / theta
        sojourn = _sojourn(level, wait_probability, theta, mean)
        found[f"{name}_sojourn_s"] = np.where(exponential, sojourn, np.nan)
    endless = {name: np.where(stable, values, np.inf) for name, values in found.items()}
    endless["wait_probability"] = np.where(stable, wait_probability, 1.0)
    return {"stable": stable, "utilization": load / count, **endless}


def _erlang_c(load: np.ndarray, servers: np.ndarray) -> np.ndarray:
    from scipy.special import gammaincc, gammaln

    logarithm = servers * np.log(load) - load - gammaln(servers + 1) - np.log(gammaincc(servers + 1, load))
    blocking = np.exp(np.minimum(logarithm, 0.0))
    rho = load / servers
    return np.asarray(blocking / (1 - rho + rho * blocking))


def _sojourn(level: float, wait_probability: np.ndarray, theta: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """The time not exceeded by a share `level`, by halving an interval that holds it."""
    service_rate = 1 / mean
    low = np.zeros_like(mean)
    high = (-np.log1p(-level) + 1) * (mean + 1 / theta) * 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        late = _tail(middle, wait_probability, theta, service_rate) > 1 - level
        low, high = np.where(late, middle, low), np.where(late, high, middle)
    return np.asarray((low + high) / 2)


def _tail(
    time_s: np.ndarray, wait_probability: np.ndarray, theta: np.ndarray, service_rate: np.ndarray
) -> np.ndarray:
    """P(T > t) without cancellation where theta and the service rate are close; see `models.mmc`."""
    slower, apart = np.minimum(theta, service_rate), np.abs(theta - service_rate)
    product = apart * time_s
    ratio = np.where(product > 0, -np.expm1(-product) / np.where(product > 0, product, 1.0), 1.0)
    alone = np.exp(-service_rate * time_s)
    after = np.exp(-slower * time_s) * (1 + slower * time_s * ratio)
    return np.asarray((1 - wait_probability) * alone + wait_probability * after)
