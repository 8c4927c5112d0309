"""Promises, rates and durations as people write them."""

from __future__ import annotations

import pytest

from mfi_command import BadInput
from mm1_planner import Slo, lognormal_from_percentile, parse_service, parse_slo
from mm1_planner.inputs import parse_rate_per_s, parse_seconds


@pytest.mark.parametrize(
    ("text", "metric", "limit_s"),
    [
        ("p99_wait<0.5", "p99_wait_s", 0.5),
        ("p99_sojourn < 2s", "p99_sojourn_s", 2.0),
        ("p99.9_wait<=250ms", "p999_wait_s", 0.25),
        ("mean_sojourn_s<1e-1", "mean_sojourn_s", 0.1),
        ("p50_wait<2min", "p50_wait_s", 120.0),
    ],
)
def test_promises(text: str, metric: str, limit_s: float) -> None:
    assert parse_slo(text) == Slo(metric, limit_s)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "p99",
        "p42_wait<1",
        "p99_wait>1",
        "p99_wait<",
        "p99_wait<-1",
        "p99_wait<nan",
        "p99_wait<0",
        "p99_ttft<1",
    ],
)
def test_no_promises(text: str) -> None:
    with pytest.raises(BadInput):
        parse_slo(text)


def test_units() -> None:
    assert parse_rate_per_s("rate", "120/s") == 120
    assert parse_rate_per_s("rate", "7200/min") == 120
    assert parse_rate_per_s("rate", "1e3") == 1000
    assert parse_rate_per_s("rate", 2.5) == 2.5
    assert parse_seconds("time", "350ms") == pytest.approx(0.35)
    for wrong in ("120/fortnight", "fast", "-3/s", "0", "nan", "inf", "1e308", "1e-320", "--", "5 5"):
        with pytest.raises(BadInput):
            parse_rate_per_s("rate", wrong)


@pytest.mark.parametrize("text", ["exp:0.5", "det:0.3", "lognormal:0.5:2", "gamma:0.5:0.7"])
def test_laws_have_the_moments_and_quantiles_of_their_draws(text: str) -> None:
    import numpy as np

    law = parse_service(text)
    draws = law.sample(np.random.default_rng(0), 2_000_000)
    assert law.name == text
    assert draws.mean() == pytest.approx(law.mean_s, rel=0.01)
    assert draws.var() / draws.mean() ** 2 == pytest.approx(law.scv, rel=0.1, abs=1e-12)
    levels = np.array([0.1, 0.5, 0.99])
    np.testing.assert_allclose(law.quantile(levels), np.quantile(draws, levels), rtol=0.02)


def test_a_plain_number_is_the_mean_of_an_exponential() -> None:
    assert parse_service("350ms") == parse_service("exp:0.35") == parse_service(0.35)


@pytest.mark.parametrize(("mean_s", "p99_s"), [(1.0, 3.0), (0.2, 0.2000001), (5.0, 70.0)])
def test_lognormal_from_mean_and_percentile(mean_s: float, p99_s: float) -> None:
    import numpy as np

    law = lognormal_from_percentile(mean_s, p99_s)
    assert law.mean_s == mean_s
    assert float(law.quantile(np.array(0.99))) == pytest.approx(p99_s, rel=1e-9)


@pytest.mark.parametrize("p99_s", [0.5, 20.0, float("nan")])
def test_no_lognormal_law_fits(p99_s: float) -> None:
    with pytest.raises(BadInput):
        lognormal_from_percentile(1.0, p99_s)
