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


def test_bursts_by_the_law_of_the_gap_are_renewal_and_bursts_by_their_order_are_not() -> None:
    rng = np.random.default_rng(3)
    gaps = rng.gamma(1 / 4, 4, 6000)
    renewal = burstiness(np.cumsum(gaps))
    assert (renewal.poisson, renewal.renewal, renewal.trust) == (False, True, "renewal")
    assert "may be trusted" in renewal.verdict
    # The same gaps, half of them sorted by hundreds: only their order has changed.
    ordered = np.concatenate([np.sort(block) for block in gaps.reshape(-1, 600)])
    dependent = burstiness(np.cumsum(ordered))
    assert (dependent.renewal, dependent.trust) == (False, "replay")
    assert dependent.gap_cv == pytest.approx(renewal.gap_cv, rel=1e-2)
    assert "replay the trace" in dependent.verdict


def test_a_renewal_process_is_seldom_called_dependent() -> None:
    called = [
        burstiness(np.cumsum(np.random.default_rng(seed).gamma(0.5, 2, 1500))).renewal for seed in range(20)
    ]
    assert sum(called) >= 18


def test_autocorrelation_of_a_moving_average() -> None:
    noise = np.random.default_rng(4).exponential(1, 40_001)
    # Neighbours share one of their two terms: correlation 1/2 at lag 1 and 0 beyond.
    found = burstiness(np.cumsum(noise[1:] + noise[:-1])).autocorrelation
    assert found[0].lag == 1
    assert found[0].value == pytest.approx(0.5, abs=0.02)
    assert all(abs(later.value) < 2 * later.bound for later in found[1:])
    assert found[0].bound == pytest.approx(3.29 / 200, rel=1e-3)


def test_rates_by_window_hold_every_arrival() -> None:
    arrivals = np.concatenate([np.linspace(0, 100, 101), np.linspace(101, 200, 400)])
    rates = burstiness(arrivals).rates
    assert len(rates) == 60
    assert sum(rate.rate_per_s for rate in rates) * 200 / 60 == pytest.approx(500)
    assert rates[0].rate_per_s == pytest.approx(1, rel=0.35)
    assert rates[-1].rate_per_s == pytest.approx(4, rel=0.2)
