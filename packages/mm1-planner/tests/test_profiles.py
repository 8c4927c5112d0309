"""Rates over time: areas, inverses, and the arrivals drawn from them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mfi_command import BadInput
from mm1_planner.dispersion import burstiness
from mm1_planner.profiles import parse_profile


def test_points_in_a_text_and_in_a_file_are_one_profile(tmp_path: Path) -> None:
    text = parse_profile("0s=60/min, 10min=5, 1h=0")
    file = tmp_path / "profile.csv"
    file.write_text("time,rate\n0,1\n600,5\n3600,0\n")
    read = parse_profile(file)
    np.testing.assert_allclose(text.times_s, read.times_s)
    np.testing.assert_allclose(text.rates_per_s, read.rates_per_s)
    assert text.requests == pytest.approx(600 * 3 + 3000 * 2.5)
    assert text.rate_per_s == pytest.approx(text.requests / 3600)


def test_arrivals_follow_the_rate_in_every_window() -> None:
    profile = parse_profile("0s=2/s,100s=20/s,200s=20/s,300s=0,400s=0,500s=10/s")
    counts = np.mean(
        [np.histogram(profile.draw(seed=seed).arrivals_s, bins=10, range=(0, 500))[0] for seed in range(40)],
        axis=0,
    )
    edges = np.linspace(0, 500, 11)
    pieces = [np.linspace(low, high, 201) for low, high in pairwise(edges)]
    expected = [np.trapezoid(profile.rate_at(piece), piece) for piece in pieces]
    # Five standard errors of the mean of 40 Poisson counts.
    assert (np.abs(counts - expected) <= 5 * np.sqrt(np.array(expected) / 40) + 1e-9).all()


def test_a_level_profile_is_the_stream_itself() -> None:
    poisson = burstiness(parse_profile("0s=10/s,2000s=10/s").draw(seed=3).arrivals_s)
    assert poisson.poisson
    bursty = burstiness(parse_profile("0s=10/s,2000s=10/s").draw(seed=3, arrivals="gamma:2").arrivals_s)
    assert not bursty.poisson
    assert bursty.gap_cv == pytest.approx(2, rel=0.1)


def test_draws_depend_on_seed_and_replication_only() -> None:
    profile = parse_profile("0s=1/s,100s=5/s")
    first, again, other = profile.draw(), profile.draw(), profile.draw(replication=1)
    np.testing.assert_array_equal(first.arrivals_s, again.arrivals_s)
    assert first.arrivals_s[0] != other.arrivals_s[0]


@pytest.mark.parametrize(
    "text",
    ["0s=1/s", "0s=1,5s", "5s=1,5s=2", "0s=0,5s=0", "0s=-1,5s=2", "x=1,5s=2", "0s=1/s,10s=nan", "10s=1,5s=2"],
)
def test_profiles_that_are_none(text: str) -> None:
    with pytest.raises(BadInput):
        parse_profile(text)


def test_files_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "profile.csv"
    file.write_text("time,load\n0,1\n1,2\n")
    with pytest.raises(BadInput, match="no profile"):
        parse_profile(file)
    with pytest.raises(BadInput, match="at most"):
        parse_profile("0s=1e9/s,1h=1e9/s").draw()
    with pytest.raises(BadInput, match="at least 2"):
        parse_profile("0s=0.001/s,1s=0").draw()
