"""M/D/c against Erlang's alternating series in 120 digits, Pollaczek and Khinchine, and the chain itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mfi_command import BadInput
from mm1_planner import LEVELS, MDc

mpmath = pytest.importorskip("mpmath", reason="the references are computed by mpmath")
mp = mpmath.mp.clone()
mp.dps = 120


def wait_tail_of_one_server(rate: float, time_s: float):
    """Erlang (1909): the series alternates and cancels, so it is summed with 120 digits."""
    rate, time_s = mp.mpf(rate), mp.mpf(time_s)
    terms = [
        (rate * (k - time_s)) ** k / mp.factorial(k) * mp.exp(-rate * (k - time_s))
        for k in range(int(mp.floor(time_s)) + 1)
    ]
    return 1 - (1 - rate) * mp.fsum(terms)


@pytest.mark.parametrize("load", [0.05, 0.3, 0.5, 0.9, 0.98])
def test_one_server(load: float) -> None:
    answer = MDc(load, 1.0).answer()
    assert answer.mean_wait_s == pytest.approx(load / 2 / (1 - load), rel=1e-11)
    assert answer.wait_probability == pytest.approx(load, rel=1e-12)
    for name, level in LEVELS.items():
        wait = getattr(answer, f"{name}_wait_s")
        if wait == 0:
            assert load <= 1 - level
        else:
            assert abs(wait_tail_of_one_server(load, wait) / (1 - mp.mpf(str(level))) - 1) < 1e-9
        assert getattr(answer, f"{name}_sojourn_s") == 1 + wait


def chain(rate: float, servers: int, states: int) -> np.ndarray:
    """Number of customers every service time, by solving the chain itself as a linear system."""
    arrivals = np.exp(
        -rate + np.arange(states) * math.log(rate) - np.cumsum(np.log(np.maximum(np.arange(states), 1)))
    )
    step = np.zeros((states, states))
    for n in range(states):
        left = max(n - servers, 0)
        step[left:, n] = arrivals[: states - left]
    matrix = step - np.eye(states)
    matrix[0] = 1.0
    right = np.zeros(states)
    right[0] = 1.0
    return np.linalg.solve(matrix, right)


@pytest.mark.parametrize(("rate", "servers"), [(1.6, 2), (9.0, 10), (3.0, 8), (28.0, 30)])
def test_several_servers(rate: float, servers: int) -> None:
    states = chain(rate, servers, 700)
    expected = float(np.maximum(np.arange(700) - servers, 0) @ states) / rate
    answer = MDc(rate, 1.0, servers).answer()
    assert answer.mean_wait_s == pytest.approx(expected, rel=1e-9)
    assert answer.wait_probability == pytest.approx(states[servers:].sum(), rel=1e-9)


@pytest.mark.parametrize(("rate", "servers"), [(9900.0, 10_000), (99_900.0, 100_000)])
def test_many_servers_obey_the_mean_of_their_tail(rate: float, servers: int) -> None:
    model = MDc(rate, 1.0, servers)
    # The mean is the integral of the tail; the queue's law gives it a second time.
    grid = np.linspace(0, 4 * model.wait_percentile(0.999), 4001)
    tail = np.array([model.wait_tail(t) for t in grid])
    assert np.trapezoid(tail, grid) == pytest.approx(model.answer().mean_wait_s, rel=1e-4)


def test_overload_and_a_load_too_close_to_one() -> None:
    assert not MDc(10.0, 1.0, 10).answer().stable
    assert math.isinf(MDc(11.0, 1.0, 10).answer().p99_wait_s)
    with pytest.raises(BadInput, match=r"load is 0\.99999999"):
        MDc(0.99999999, 1.0).answer()
