"""The burstiness test on processes whose index of dispersion is known."""

from __future__ import annotations

import numpy as np
import pytest

from mm1_planner import burstiness


def test_poisson_arrivals_are_trusted_whatever_their_rate() -> None:
    alarms = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found = burstiness(np.cumsum(rng.exponential(10.0 ** (seed % 5 - 2), 3000)))
        alarms += not found.poisson
        assert 0.85 < found.gap_cv < 1.15
    assert alarms <= 1


def test_batches_of_four_have_an_index_of_four() -> None:
    rng = np.random.default_rng(0)
    found = burstiness(np.repeat(np.cumsum(rng.exponential(1, 20_000)), 4))
    assert not found.poisson
    assert "bursty" in found.verdict
    for scale in found.dispersion[6:9]:
        assert scale.index == pytest.approx(4, rel=0.2)
    assert found.gap_cv == pytest.approx(np.sqrt(7), rel=0.05)


def test_a_rate_that_drifts_is_bursty_at_long_windows_only() -> None:
    rng = np.random.default_rng(1)
    gaps = rng.exponential(1, 20_000)
    gaps[10_000:] /= 2
    found = burstiness(np.cumsum(gaps))
    assert not found.poisson
    assert found.dispersion[0].index < 1.3 < found.dispersion[-1].index


def test_even_arrivals_have_no_dispersion() -> None:
    found = burstiness(np.arange(5000.0))
    assert found.gap_cv == 0
    assert found.poisson
    assert found.dispersion[5].index < 0.1


def test_a_handful_of_arrivals_tells_nothing() -> None:
    found = burstiness(np.array([0.0, 1.0, 5.0]))
    assert not found.poisson
    assert "too few" in found.verdict


def test_moderate_renewal_bursts_are_seen() -> None:
    # Gamma gaps with a squared CV of 3: the index tends to 3.
    rng = np.random.default_rng(2)
    found = burstiness(np.cumsum(rng.gamma(1 / 3, 3, 20_000)))
    assert not found.poisson
    assert found.dispersion[6].index == pytest.approx(3, rel=0.25)
