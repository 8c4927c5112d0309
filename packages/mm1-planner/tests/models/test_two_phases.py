"""Phase-type laws in the place of others keep what they are said to keep."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mm1_planner import Constant, Empirical, Exponential, Gamma, GIMc, Lognormal
from mm1_planner.models.two_phases import gap_phases, third_moment, two_phase_service


def moments(start: np.ndarray, steps: np.ndarray) -> list[float]:
    inverse = np.linalg.inv(-steps)
    return [
        math.factorial(n) * float(start @ np.linalg.matrix_power(inverse, n).sum(axis=1)) for n in (1, 2, 3)
    ]


@pytest.mark.parametrize("law", [Gamma(2.0, 0.8), Gamma(2.0, 2.0), Lognormal(2.0, 1.4), Gamma(2.0, 0.5**0.5)])
def test_services_keep_mean_and_variance(law) -> None:
    mean, second, third = moments(*two_phase_service(law))
    assert mean == pytest.approx(law.mean_s, rel=1e-9)
    assert second / mean**2 - 1 == pytest.approx(law.scv, rel=1e-6)
    if law.scv < 1:
        assert third / mean**3 == pytest.approx(third_moment(law), rel=1e-6)
    else:
        assert 1.5 * second**2 / mean**4 < third / mean**3 < third_moment(law)


def test_third_moments_are_those_of_the_laws() -> None:
    draws = (np.arange(400_000) + 0.5) / 400_000
    for law in (Exponential(3.0), Gamma(3.0, 0.7), Lognormal(3.0, 0.6), Empirical(np.array([1.0, 2.0, 9.0]))):
        expected = float(np.mean((law.quantile(draws) / law.mean_s) ** 3))
        assert third_moment(law) == pytest.approx(expected, rel=0.01), law.name
    with pytest.raises(NotImplementedError):
        third_moment(Constant(1.0))


@pytest.mark.parametrize(
    "gap", [Gamma(0.25, 1.7), Lognormal(0.25, 2.0), Lognormal(0.25, 0.8), Gamma(0.25, 0.6)]
)
def test_gaps_keep_mean_variance_and_root(gap) -> None:
    quiet, arriving = gap_phases(gap, 0.9, 4, 20)
    rows = arriving[arriving.sum(axis=1) > 0]
    start = rows[0] / rows[0].sum()
    mean, second, _ = moments(start, quiet)
    assert mean == pytest.approx(gap.mean_s, rel=1e-9)
    assert second / mean**2 - 1 == pytest.approx(gap.scv, rel=1e-6)
    speed = 4 / 0.9
    sigma = GIMc(gap, 1 / 0.9, 4).sigma
    found = float(
        start @ np.linalg.solve(speed * (1 - sigma) * np.eye(len(quiet)) - quiet, -quiet.sum(axis=1))
    )
    assert found == pytest.approx(sigma, rel=2e-3)
