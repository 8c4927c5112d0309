"""Places in a batch: without prompts it is M/M/c; groups make it worse, a cut prompt comes later."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mm1_planner import MMc
from mm1_planner.llm.chunks import Prompts, extra_s
from mm1_planner.llm.room import Groups, slots

ALONE = Groups(0.0, 0.0, 1.0)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.6), (8, 0.5), (40, 0.9), (256, 0.3)])
def test_without_prompts_it_is_erlang(servers: int, load: float) -> None:
    found = slots(load * servers, np.arange(1.0, servers + 1), ALONE, pause=0.0)
    exact = MMc(load * servers, 1.0, servers).answer()
    assert found.line == pytest.approx(exact.mean_in_queue, rel=1e-9, abs=1e-12)
    assert found.busy == pytest.approx(load * servers, rel=1e-9)


def test_groups_that_leave_together_fill_the_batch_more_often() -> None:
    found = [
        slots(7.0, np.arange(1.0, 21.0), Groups(0.3, scv, together), pause=0.4).full
        for scv, together in ((0.0, 1.0), (0.0, 2.0), (2.0, 2.0))
    ]
    assert found[0] < found[1] < found[2]


def test_the_groups_have_the_mean_and_pairs_of_a_branching_process() -> None:
    share, scv = 0.4, 1.7
    beyond, ratio = Groups(share, scv, 1.0).tail()
    tail = beyond * ratio ** np.arange(400)  # P(X > k), k >= 1
    mean = 1 + tail.sum()
    square = 1 + ((2 * np.arange(1, 401) + 1) * tail).sum()
    assert mean == pytest.approx(1 / (1 - share))
    variance = share * (1 + share * scv) / (1 - share) ** 3
    assert square - mean**2 == pytest.approx(variance)


def test_a_budget_that_is_never_reached_adds_nothing_and_one_too_small_never_ends() -> None:
    tokens = np.random.default_rng(0).geometric(1 / 400, 3000)
    extra = [extra_s(Prompts(20.0, tokens, 3e-5, 0.02, room)) for room in (1e6, 2000.0, 1000.0, 300.0, 100.0)]
    assert extra[0] == 0
    assert 0 < extra[1] < extra[2] < extra[3]
    assert math.isinf(extra[4])


def test_a_long_prompt_alone_takes_as_many_iterations_as_its_chunks() -> None:
    # One request at a time, 8 chunks of 500: seven more iterations of 20 ms than without a budget.
    tokens = np.full(100, 4000)
    found = extra_s(Prompts(0.01, tokens, 1e-5, 0.02, 500.0))
    assert found == pytest.approx(7 * 0.02, rel=0.05)
