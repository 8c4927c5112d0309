"""The tail of the normal distribution against ball arithmetic."""

import numpy as np
import pytest

pytest.importorskip("numba")
flint = pytest.importorskip("flint")

from stable_ops.compiled.tail import tail  # noqa: E402


def test_the_error_is_within_its_bound():
    rng = np.random.default_rng(0)
    drawn = np.concatenate([rng.uniform(0, 15, 3000), 2.0 ** rng.uniform(-40, 0, 300), [0.0, 15.0]])
    with flint.ctx.workprec(120):
        for t in drawn.astype(np.float32).astype(float):
            exact = (flint.arb(t) / flint.arb(2).sqrt()).erfc() / 2
            error = abs(float((flint.arb(float(tail(t))) / exact - 1).mid()))
            assert error <= 2.0**-49 + t * t * 2.0**-54, t


def test_beyond_it_nothing_is_left():
    for t in (15.1, 20.0, 1e30, np.inf):
        assert 0 <= tail(t) < np.exp(-112.0)
    assert np.isnan(tail(np.nan))
