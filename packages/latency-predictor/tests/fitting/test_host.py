"""Passes beside a slow host are found, and no others."""

import numpy as np
import pytest

from latency_predictor.fitting.host import disturbed
from latency_predictor.fitting.stack import Busy, PassRow, fit_stack, issued_s, on_one_host, predicted, taken
from latency_predictor.stacks import find_stack

HOST_S = 0.01


def passes(slower: np.ndarray, *, seed: int, noted_s: float = 0.0) -> tuple[list[PassRow], Busy]:
    """Two models, a dozen passes each: the host takes about HOST_S or twice that, the device 1 to 40 ms."""
    generator = np.random.default_rng(seed)
    device_s = np.tile(np.geomspace(1e-3, 4e-2, 12), 2)
    host_s = HOST_S * np.repeat([1.0, 2.0], 12) * np.exp(generator.normal(0, 0.03, 24)) * slower
    measured = np.maximum(device_s, host_s)
    rows = [
        PassRow(f"model {number // 12}", "decode", 1, 1, "bf16", second, noted_s * slower[number])
        for number, second in enumerate(measured)
    ]
    ones = np.ones(24)
    return rows, Busy(np.full(24, "decode"), device_s, ones, measured, noted_s * slower)


@pytest.mark.parametrize("seed", range(4))
def test_finds_the_slowed_passes(seed: int) -> None:
    slower = np.ones(24)
    slower[[1, 4, 13]] = 1.8
    rows, work = passes(slower, seed=seed)
    np.testing.assert_array_equal(np.flatnonzero(disturbed(rows, work)), [1, 4, 13])
    # Where the host's speed was noted a fit takes it into account.
    assert not disturbed(*passes(slower, seed=seed, noted_s=1e-3)).any()


def test_a_steady_host_and_a_busy_device_are_left_alone() -> None:
    rows, work = passes(np.ones(24), seed=9)
    assert not disturbed(rows, work).any()
    slower = np.ones(24)
    slower[11] = 1.8  # 40 ms of the device hide 18 of the host
    rows, work = passes(slower, seed=9)
    assert not disturbed(rows, work).any()
    assert disturbed([], Busy(*(np.zeros(0) for _ in range(5)))).shape == (0,)


def test_a_host_of_another_speed_is_predicted_by_its_probe() -> None:
    """Fitted on half of the rows beside one host, judged on the others beside hosts up to twice as slow."""
    generator = np.random.default_rng(4)
    layers = generator.integers(12, 64, 40) * 1.0
    device_s = np.geomspace(1e-3, 4e-2, 40)
    slower = np.where(np.arange(40) % 2, generator.uniform(1, 2, 40), 1.0)
    measured = np.maximum(device_s, slower * (1e-3 + 3e-4 * layers))
    work = Busy(np.full(40, "decode"), device_s, 10 * layers, measured, 2e-4 * slower)
    even = np.arange(40) % 2 == 0
    made = fit_stack(taken(work, even), find_stack("eager"), "half")
    rest = taken(work, ~even)
    assert made.host_s == pytest.approx(2e-4)
    assert np.abs(predicted(rest, made) / rest.measured - 1).max() < 0.1
    # Fault: without what was noted of the host.
    assert np.abs(predicted(on_one_host(rest), made) / rest.measured - 1).max() > 0.3
    np.testing.assert_allclose(issued_s(rest, made), issued_s(on_one_host(rest), made) * slower[~even])
