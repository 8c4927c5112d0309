"""Tabled laws of the wait: their tails, stretched and between two others."""

from __future__ import annotations

import numpy as np
import pytest

from mm1_planner.models.waits import EXCEEDANCES, ExponentialWait, tabled

TIMES = np.concatenate([[0.0], np.geomspace(1e-3, 40.0, 400)])


def table(probability: float, mean_s: float):
    return tabled(probability, mean_s, TIMES, ExponentialWait(probability, mean_s).tail(TIMES))


@pytest.mark.parametrize("probability", [1.0, 0.4, 0.003])
def test_an_exponential_wait_comes_back(probability: float) -> None:
    exact, found = ExponentialWait(probability, 2.0 * probability), table(probability, 2.0 * probability)
    for time_s in (0.0, 0.5, 3.0, 9.0, 25.0):
        expected = exact.tail(np.array([time_s]))[0]
        assert found.tail(np.array([time_s]))[0] == pytest.approx(expected, rel=2e-3), time_s
    # Beyond the table the last decade goes on.
    far = np.array([2.0 * np.log(probability / EXCEEDANCES[-1]) + 10.0])
    assert found.tail(far)[0] == pytest.approx(exact.tail(far)[0], rel=0.05)


def test_stretched_waits_are_longer_and_more() -> None:
    found, exact = table(0.4, 0.8).stretched(1.5, 3.0), ExponentialWait(0.6, 3.6)
    assert found.probability == pytest.approx(0.6)
    assert found.mean_s == pytest.approx(3.6)
    times = np.array([0.0, 1.0, 10.0, 30.0])
    np.testing.assert_allclose(found.tail(times), exact.tail(times), rtol=5e-3)


def test_between_two_laws() -> None:
    between = table(0.4, 0.8).towards(table(0.4, 1.6), 0.5)
    times = np.array([0.0, 1.0, 8.0])
    np.testing.assert_allclose(between.tail(times), ExponentialWait(0.4, 1.2).tail(times), rtol=5e-3)


def test_nobody_waits() -> None:
    found = tabled(0.0, 0.0, TIMES, np.zeros(TIMES.size))
    np.testing.assert_array_equal(found.tail(np.array([0.0, 1.0])), 0.0)
