"""Streams of arrivals: rates, dispersions, and the same draws in any blocks."""

from __future__ import annotations

import numpy as np
import pytest

from mfi_command import BadInput
from mm1_planner import Mmpp, parse_arrivals, stream

NAMES = ["poisson", "det", "gamma:2", "lognormal:0.5", "mmpp:5:0.1:0.3s"]


@pytest.mark.parametrize("name", NAMES)
def test_rates_dispersion_and_blocks(name: str) -> None:
    arrivals = parse_arrivals(name, 4.0)
    assert arrivals.rate_per_s == pytest.approx(4.0)
    gaps = arrivals.gaps(stream(1, 0, 0, 0))(400_000)
    assert gaps.mean() == pytest.approx(0.25, rel=0.02)
    blocks = arrivals.gaps(stream(1, 0, 0, 0))
    np.testing.assert_array_equal(np.concatenate([blocks(n) for n in (1, 999, 5000)]), gaps[:6000])
    window = 100.0
    counts = np.histogram(np.cumsum(gaps), np.arange(0, 90_000, window))[0]
    assert counts.var() / counts.mean() == pytest.approx(arrivals.dispersion, rel=0.25, abs=0.05)


def test_peaks() -> None:
    peaks = parse_arrivals("mmpp:5:0.1:10s", 2.0)
    assert isinstance(peaks, Mmpp)
    assert peaks.quiet_per_s * 0.9 + peaks.peak_per_s * 0.1 == pytest.approx(2.0)
    assert peaks.peak_s / (peaks.peak_s + peaks.quiet_s) == pytest.approx(0.1)
    # All arrivals in the peaks: the quiet rate is 0, not below it by rounding.
    assert parse_arrivals("mmpp:10:0.1:1s", 2.0).quiet_per_s == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "normal",
        "gamma",
        "gamma:x",
        "gamma:nan",
        "gamma:-1",
        "mmpp:2",
        "mmpp:0.5:0.1:1s",
        "mmpp:20:0.1:1s",
        "mmpp:2:0:1s",
    ],
)
def test_bad_input(wrong: str) -> None:
    with pytest.raises(BadInput):
        parse_arrivals(wrong, 1.0)
