"""Replications on any number of workers."""

from __future__ import annotations

import pytest

from mfi_command import BadInput
from mm1_planner import replicate, simulate


def test_any_number_of_workers_gives_the_same() -> None:
    asked = {
        "arrival_rate_per_s": 3.0,
        "service": "gamma:0.5:1.5",
        "servers": 2,
        "arrivals": "mmpp:3:0.2:2s",
        "seed": 4,
    }
    one, two, eight = (
        replicate(replications=8, workers=workers, precision=0.2, **asked) for workers in (1, 2, 8)
    )
    assert one == two == eight
    assert one[3] == simulate(replication=3, precision=0.2, **asked)
    assert len({run.estimates["mean_wait_s"].value for run in one}) == 8


def test_bad_input() -> None:
    for wrong in ({"replications": 0}, {"workers": 0}, {"service": "exp:-1"}):
        with pytest.raises(BadInput):
            replicate(**({"arrival_rate_per_s": 1.0, "service": "exp:0.5", "customers": 2000} | wrong))
