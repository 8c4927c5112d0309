"""The compiled engine is the readable one, customer by customer and bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm1_planner import draw, parse_service
from mm1_planner.engine.fast import simulate_fast
from mm1_planner.engine.reference import simulate_with_simpy

LAWS = ["exp:1", "det:1", "lognormal:1:2", "gamma:1:0.5"]


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32),
    servers=st.sampled_from([1, 2, 3, 5, 16, 100]),
    room=st.sampled_from([None, None, 0, 1, 7]),
    law=st.sampled_from(LAWS),
    load=st.floats(0.2, 1.5),
)
def test_same_draws_same_times(seed: int, servers: int, room: int | None, law: str, load: float) -> None:
    gaps, services = draw(load * servers, parse_service(law), 700, seed=seed)
    capacity = None if room is None else servers + room
    fast = simulate_fast(gaps, services, servers, capacity)
    simpy = simulate_with_simpy(gaps, services, servers, capacity)
    np.testing.assert_array_equal(fast[0], simpy[0])
    np.testing.assert_array_equal(fast[1], simpy[1])
    if room is None:
        assert not np.isnan(fast[0]).any()


@settings(deadline=None, max_examples=max(20, settings.default.max_examples // 3))
@given(
    seed=st.integers(0, 2**32),
    servers=st.sampled_from([1, 2, 5, 16]),
    law=st.sampled_from(LAWS),
    load=st.floats(0.2, 2.5),
    patience=st.floats(0.01, 20),
)
def test_the_same_customers_give_up(seed: int, servers: int, law: str, load: float, patience: float) -> None:
    gaps, services = draw(load * servers, parse_service(law), 700, seed=seed)
    limits = np.random.default_rng(seed).exponential(patience, gaps.size)
    fast = simulate_fast(gaps, services, servers, patience_s=limits)
    simpy = simulate_with_simpy(gaps, services, servers, patience_s=limits)
    np.testing.assert_array_equal(fast[0], simpy[0])
    np.testing.assert_array_equal(fast[1], simpy[1])
    assert np.all(fast[0][~np.isnan(fast[0])] <= limits[~np.isnan(fast[0])])


def test_by_hand() -> None:
    gaps, services = np.array([0.0, 1.0, 1.0, 0.0]), np.array([5.0, 5.0, 1.0, 1.0])
    np.testing.assert_array_equal(simulate_fast(gaps, services, 1)[0], [0, 4, 8, 9])
    np.testing.assert_array_equal(simulate_fast(gaps, services, 2)[0], [0, 0, 3, 4])
    np.testing.assert_array_equal(simulate_fast(gaps, services, 2)[1], [5, 5, 4, 5])
    np.testing.assert_array_equal(simulate_fast(gaps, services, 1, 2)[0], [0, 4, np.nan, np.nan])
    # The second gives up at 2, so the third starts at 5 and the fourth after it.
    waits = simulate_fast(gaps, services, 1, patience_s=np.array([9.0, 1.0, 9.0, 9.0]))[0]
    np.testing.assert_array_equal(waits, [0, np.nan, 3, 4])


@pytest.mark.parametrize("servers", [1, 4])
def test_a_server_more_shortens_every_single_wait(servers: int) -> None:
    gaps, services = draw(0.9 * servers, parse_service("lognormal:1:2"), 5000, seed=3)
    assert np.all(
        simulate_fast(gaps, services, servers + 1)[0] <= simulate_fast(gaps, services, servers)[0] + 1e-9
    )
