"""Streams over working sets: sizes, kernels, and what numpy does without a compiler."""

import numpy as np
import pytest

from roofline.cpu_streams import Streams, sweep, working_sets
from roofline.native import compiled


def test_working_sets_reach_past_the_last_cache() -> None:
    sizes = working_sets(2, 32 << 20)
    assert sizes[0] == 16 << 10
    assert sizes[-1] == 256 << 20
    assert sizes == sorted(set(sizes))
    assert working_sets(4, 300 << 20)[-1] == 1200 << 20
    assert len(working_sets(2, 32 << 20, step=4)) < len(sizes)


@pytest.mark.parametrize("native", [True, False], ids=["C", "numpy"])
def test_every_kernel_has_a_rate_over_every_set(native: bool) -> None:
    library = compiled() if native else None
    if native and library is None:
        pytest.skip("no C compiler")
    streams = Streams(library, threads=2, largest=4 << 20, seed=5)
    try:
        rows, rates = sweep(streams, [64 << 10, 4 << 20], last_cache_bytes=1 << 20, seconds=0.05)
    finally:
        streams.close()
    names = set(streams.kernels)
    assert set(rates) == names
    cached = {name for name in names if not name.endswith("_nt")}
    assert {key.removesuffix("_bytes_per_s") for key in rows[0]} == cached | {"working_set_bytes"}
    assert all(rate.median > 0 for rate in rates.values())


def test_data_is_random_and_each_thread_has_its_own() -> None:
    streams = Streams(None, threads=2, largest=1 << 20, seed=5)
    streams.close()
    one, other = streams._x
    assert len(np.unique(one)) > 0.9 * len(one)
    assert not np.array_equal(one, other)
    assert one.ctypes.data % (2 << 20) == other.ctypes.data % (2 << 20) == 0


def test_no_set_is_larger_than_asked_for() -> None:
    """A kernel over two arrays works on half as many elements of each."""
    streams = Streams(None, threads=2, largest=1 << 20, seed=5)
    try:
        read, _ = streams._plan("read", 1 << 20, 0.01)
        copy, _ = streams._plan("copy", 1 << 20, 0.01)
    finally:
        streams.close()
    assert read == 2 * copy == (1 << 20) // 4 // 2
