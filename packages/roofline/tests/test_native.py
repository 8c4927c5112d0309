"""The kernels in C do the work that is counted."""

import ctypes

import numpy as np
import pytest
from numpy.typing import NDArray

from roofline.native import CHAINS, STREAMS, Native, compiled

N = 1280


@pytest.fixture(scope="module")
def native() -> Native:
    found = compiled()
    if found is None:
        pytest.skip("no C compiler")
    return found


def aligned(seed: int) -> NDArray[np.float32]:
    raw = np.empty(N + 64, np.float32)
    start = -raw.ctypes.data % 64 // 4
    part = raw[start : start + N]
    part[:] = np.random.default_rng(seed).standard_normal(N, dtype=np.float32)
    return part


@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize("name", STREAMS)
def test_streams(name: str, passes: int, native: Native) -> None:
    x, y = aligned(1), aligned(2)
    source, before = x.copy(), y.copy()
    native.stream(name)(y.ctypes.data, x.ctypes.data, N, passes)
    np.testing.assert_array_equal(x, source)
    if name == "read":
        # The first lane of the sum of everything: every `lanes`-th element, `passes` times.
        lanes = native.width_bytes // 4
        assert y[0] == pytest.approx(passes * source[::lanes].sum(dtype=np.float64), rel=1e-4, abs=1e-4)
        np.testing.assert_array_equal(y[1:], before[1:])
    elif name.startswith("copy"):
        np.testing.assert_array_equal(y, source)
    elif name.startswith("write"):
        np.testing.assert_array_equal(
            y, np.tile(source[: native.width_bytes // 4], N * 4 // native.width_bytes)
        )
    else:
        expected = before
        for _ in range(passes):
            expected = expected + source
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize(("dtype", "digits"), [("fp32", 1e-5), ("fp64", 1e-13)])
def test_chains(dtype: str, digits: float, native: Native) -> None:
    """All twelve chains by hand: a = a * x + y from the starts that the code gives them."""
    x, y, steps = 0.75, 0.3, 5
    chains = [x + y * number for number in range(CHAINS)]
    chains[0] = x
    total = 0.0
    for chain in chains:
        for _ in range(steps):
            chain = chain * x + y
        total += chain
    assert native.chain(dtype)(x, y, steps) == pytest.approx(total, rel=digits)


def test_the_width_is_that_of_a_vector(native: Native) -> None:
    assert native.width_bytes in (16, 32, 64)
    assert isinstance(native.library, ctypes.CDLL)
