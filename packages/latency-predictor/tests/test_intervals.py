"""Conformal intervals on simulated groups: what they promise holds on groups that they have not seen."""

import numpy as np
import pytest

from latency_predictor.intervals import conformal, coverage, quantiles


def _groups(count: int, between: float, seed: int, rows: int = 40) -> dict[str, list[float]]:
    generator = np.random.default_rng(seed)
    return {
        str(number): list(generator.normal(generator.normal(0, between), 0.05, rows))
        for number in range(count)
    }


def test_covers_new_groups() -> None:
    """Over many draws of twelve groups, the interval of eleven holds nine tenths of the twelfth."""
    shares, plain = [], []
    for seed in range(60):
        groups = _groups(12, 0.05, seed)
        new = np.asarray(groups.pop("0"))
        made = conformal(groups)
        shares.append(np.mean((made["low_log"] <= new) & (new <= made["high_log"])))
        pooled = np.concatenate([np.asarray(group) for group in groups.values()])
        low, high = np.quantile(pooled, [0.05, 0.95])
        plain.append(np.mean((low <= new) & (new <= high)))
    assert 0.87 <= np.mean(shares) <= 0.95
    # Planted fault: quantiles of all rows together, not moved apart, hold less.
    assert np.mean(plain) < np.mean(shares)


def test_reports_what_it_measured() -> None:
    made = conformal(_groups(6, 0.02, 1))
    assert made["groups"] == 6
    assert made["rows"] == 240
    assert 0.9 <= made["coverage"] <= 0.93
    assert 0.8 <= made["coverage_nested"] <= 1
    assert made["low_log"] < 0 < made["high_log"]
    assert made["median_ape"] < made["p90_ape"] <= made["worst_ape"]


def test_groups_that_differ_much_widen() -> None:
    near, apart = conformal(_groups(6, 0.0, 2)), conformal(_groups(6, 0.3, 2))
    assert apart["high_log"] - apart["low_log"] > 2 * (near["high_log"] - near["low_log"])


def test_every_group_weighs_the_same() -> None:
    low, high = quantiles({"many": [0.0] * 1000, "few": [1.0] * 10})
    assert (low, high) == (0.0, 1.0)
    shares = coverage({"a": [0.0, 0.1], "b": [0.0, 5.0]}, 0.0)
    assert shares["b"] == 0.5


def test_one_group_cannot_be_judged() -> None:
    made = conformal({"only": [0.0, 0.1, 0.2]})
    assert made["widened"] == 0.0
    assert np.isnan(made["coverage_nested"])
    assert made["median_ape"] == pytest.approx(abs(np.expm1(-0.1)))
