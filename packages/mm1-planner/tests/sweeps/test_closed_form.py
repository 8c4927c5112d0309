"""Many configurations at once against each of them alone."""

from __future__ import annotations

import numpy as np
import pytest

from mm1_planner import MGc, MMc, parse_service
from mm1_planner.sweeps.closed_form import sweep_formula

LEVELS = ("p50", "p90", "p95", "p99", "p999")


def test_exponential_service_is_mmc() -> None:
    rng = np.random.default_rng(0)
    servers = np.concatenate([rng.integers(1, 60, 60), [1, 1000, 10_000]])
    mean = rng.uniform(0.01, 3, servers.size)
    rate = rng.uniform(0.05, 0.98, servers.size) * servers / mean
    found = sweep_formula(rate, mean, servers)
    for index in range(servers.size):
        exact = MMc(float(rate[index]), float(1 / mean[index]), int(servers[index])).answer()
        for name in ("wait_probability", "mean_wait_s", "mean_sojourn_s", *(f"{p}_wait_s" for p in LEVELS),
                     *(f"{p}_sojourn_s" for p in LEVELS)):  # fmt: skip
            # The error of a logarithm of B grows with the servers; at zero it is absolute.
            assert found[name][index] == pytest.approx(
                getattr(exact, name), rel=1e-8, abs=1e-10 * mean[index]
            )


def test_other_service_is_mgc() -> None:
    law = parse_service("lognormal:0.3:2")
    found = sweep_formula(np.array([10.0]), np.array([0.3]), np.array([6]), law.scv)
    alone = MGc(10.0, law, 6).answer()
    for name in ("mean_wait_s", "p99_wait_s", "p999_wait_s", "mean_sojourn_s"):
        assert found[name][0] == pytest.approx(getattr(alone, name), rel=1e-9)
    assert np.isnan(found["p99_sojourn_s"][0])


def test_an_unstable_queue_is_endless() -> None:
    found = sweep_formula(np.array([5.0, 4.0, 1.0]), np.array([1.0]), np.array([4]))
    assert found["stable"].tolist() == [False, False, True]
    assert found["utilization"].tolist() == [1.25, 1.0, 0.25]
    assert np.isinf(found["p99_wait_s"]).tolist() == [True, True, False]
    assert found["wait_probability"][0] == 1
