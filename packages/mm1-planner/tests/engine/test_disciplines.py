"""Priorities, sharing and batches: the compiled engines are the readable ones, customer by customer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm1_planner import draw, parse_service
from mm1_planner.engine.batching import simulate_batching
from mm1_planner.engine.disciplines import (
    simulate_batching_with_simpy,
    simulate_priority_with_simpy,
    simulate_sharing_with_simpy,
)
from mm1_planner.engine.fast import simulate_fast
from mm1_planner.engine.priority import simulate_priority
from mm1_planner.engine.sharing import simulate_sharing

LAWS = ["exp:1", "det:1", "lognormal:1:2"]


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    servers=st.sampled_from([1, 2, 5, 16]),
    kinds=st.integers(1, 4),
    law=st.sampled_from(LAWS),
    load=st.floats(0.3, 1.5),
)
def test_priorities(seed: int, servers: int, kinds: int, law: str, load: float) -> None:
    gaps, services = draw(load * servers, parse_service(law), 150, seed=seed)
    classes = np.random.default_rng(seed).integers(0, kinds, gaps.size)
    fast = simulate_priority(gaps, services, classes, servers)
    simpy = simulate_priority_with_simpy(gaps, services, classes, servers)
    np.testing.assert_allclose(fast[0], simpy[0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(fast[1], simpy[1], rtol=0, atol=1e-9)
    if kinds == 1:
        np.testing.assert_allclose(fast[0], simulate_fast(gaps, services, servers)[0], rtol=0, atol=1e-9)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    together=st.sampled_from([1, 2, 5, 30]),
    limited=st.booleans(),
    law=st.sampled_from(LAWS),
    slower=st.floats(0, 2),
    load=st.floats(0.3, 1.2),
)
def test_sharing(seed: int, together: int, limited: bool, law: str, slower: float, load: float) -> None:
    speeds = 1 / (1 + slower * np.arange(together))
    gaps, works = draw(load * together * speeds[-1], parse_service(law), 90, seed=seed)
    fast = simulate_sharing(gaps, works, speeds, limited=limited)
    simpy = simulate_sharing_with_simpy(gaps, works, speeds, limited=limited)
    np.testing.assert_allclose(fast[0], simpy[0], rtol=0, atol=1e-8)
    np.testing.assert_allclose(fast[1], simpy[1], rtol=0, atol=1e-8)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    largest=st.sampled_from([None, 1, 3, 8]),
    fixed=st.floats(0.1, 5),
    each=st.floats(0, 0.9),
)
def test_batches(seed: int, largest: int | None, fixed: float, each: float) -> None:
    gaps = draw(1.0, parse_service("exp:1"), 150, seed=seed)[0]
    fast = simulate_batching(gaps, fixed, each, largest)
    simpy = simulate_batching_with_simpy(gaps, fixed, each, largest)
    np.testing.assert_array_equal(fast[0], simpy[0])
    np.testing.assert_array_equal(fast[1], simpy[1])


def test_by_hand() -> None:
    gaps, services = np.array([0.0, 1.0, 1.0]), np.array([5.0, 1.0, 1.0])
    # The third overtakes the second; nobody is interrupted.
    np.testing.assert_array_equal(simulate_priority(gaps, services, np.array([0, 1, 0]), 1)[0], [0, 5, 3])
    # One alone for 1 s, two for 1 s, three until the second and third are done at 2 + 3 * 0.5.
    shared = simulate_sharing(gaps, np.array([5.0, 1.0, 0.5]), np.ones(1))[1]
    np.testing.assert_allclose(shared, [6.5, 2.5, 1.5])
    # One server for two at once: the third waits for the second.
    limited = simulate_sharing(gaps, np.array([5.0, 1.0, 0.5]), np.array([1.0, 0.5]), limited=True)
    np.testing.assert_allclose(limited[0], [0, 0, 1])
    np.testing.assert_array_equal(simulate_batching(gaps, 2.0, 0.5)[1], [2.5, 4.5, 3.5])
    np.testing.assert_array_equal(simulate_batching(gaps, 2.0, 0.5, 1)[0], [0, 1.5, 3.0])


@pytest.mark.parametrize("servers", [1, 3])
def test_work_is_conserved_whatever_goes_first(servers: int) -> None:
    gaps, services = draw(0.9 * servers, parse_service("exp:1"), 4000, seed=3)
    classes = np.random.default_rng(1).integers(0, 3, gaps.size)
    urgent, plain = (
        simulate_priority(gaps, services, classes, servers)[0],
        simulate_fast(gaps, services, servers)[0],
    )
    assert urgent[classes == 0].mean() < plain.mean() < urgent[classes == 2].mean()
