"""Ten thousand matrices of every kind of trouble: a right answer or a clear refusal, never a crash.

The nightly run prints how many there were: `pytest -m slow -s
packages/svd-compress/tests/test_many_matrices.py`.
"""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mfi_command import BadInput
from svd_compress import low_rank_approx, whitened_approx
from svd_compress.factoring import factor
from svd_compress.pivoting import pivot

KINDS = [
    "normal", "zeros", "rank one", "huge range", "huge", "tiny", "subnormal", "ties", "integers", "hilbert",
    "one entry", "nan", "infinite", "empty", "one-dimensional", "complex", "truth values",
]  # fmt: skip
REFUSED = {"nan", "infinite", "empty", "one-dimensional", "complex"}
DTYPES = ["float64", "float32", "float16"]
COUNT = {"matrices": 0, "refused": 0}


def make(seed, kind, dtype):
    rng = np.random.default_rng(seed)
    m, n = (int(x) for x in rng.integers(1, 25, 2))
    A = rng.standard_normal((m, n))
    if kind in ("zeros", "one entry"):
        A[:] = 0.0
    if kind == "one entry":
        A[rng.integers(m), rng.integers(n)] = 7.0
    elif kind == "rank one":
        A = np.outer(A[:, 0], A[0])
    elif kind == "huge range":
        A *= 10.0 ** rng.integers(-150, 150, (m, n))
        dtype = "float64"
    elif kind in ("huge", "tiny", "subnormal"):
        A *= {"huge": 1e300, "tiny": 1e-300, "subnormal": 1e-310}[kind]
        dtype = "float64"
    elif kind == "ties":
        A = np.eye(m, n)
    elif kind == "integers":
        return rng.integers(-9, 9, (m, n))
    elif kind == "hilbert":
        A = 1.0 / (1.0 + np.add.outer(np.arange(m), np.arange(n)))
    elif kind in ("nan", "infinite"):
        A[rng.integers(m), rng.integers(n)] = np.nan if kind == "nan" else -np.inf
    elif kind == "empty":
        return np.zeros((0, n))
    elif kind == "one-dimensional":
        return A[0]
    elif kind == "complex":
        return A + 1j
    elif kind == "truth values":
        return A > 0
    return A.astype(dtype)


def check(seed, kind, dtype, share, way):
    A = make(seed, kind, dtype)
    COUNT["matrices"] += 1
    if kind in REFUSED:
        COUNT["refused"] += 1
        with pytest.raises(BadInput):
            low_rank_approx(A, rank=0)
        return
    k = int(share * min(A.shape))
    options = {
        "rank": {"rank": k},
        "energy": {"energy": min(1.0, share + 1e-3)},
        "tol": {"tol": 0.99 * share},
        "gram": {"rank": k, "accuracy": 1e-6, "method": "gram"},
        "randomized": {"rank": k, "accuracy": 0.1, "method": "randomized"},
    }[way]
    found = low_rank_approx(A, **options)
    wide = A.astype(np.float64)
    scale = float(np.abs(wide).max()) or 1.0
    error = np.linalg.norm((wide - found.left.astype(float) @ found.right.astype(float)) / scale, 2)
    top = np.linalg.norm(wide / scale, 2)
    rounding = {"float16": 4e-3, "float32": 1e-6}.get(str(A.dtype), 1e-12) * top
    # A float16 factor of a matrix of subnormal numbers may vanish.
    assert error <= found.error_bound / scale + rounding + (1e-6 * top if way == "gram" else 0.0) + 1e-300
    assert 0 <= found.rank <= min(A.shape)
    assert 0.0 <= found.energy <= 1.0 + 1e-12
    if kind not in ("huge", "huge range"):
        gram = np.eye(A.shape[1]) * (seed % 2)
        assert np.isfinite(whitened_approx(A, gram, k).left.astype(float)).all()
        parts = factor(torch.from_numpy(wide / scale), torch.from_numpy(gram), floor=1e-8)
        if k:
            compact = pivot(parts.left[:, :k], parts.right[:k])
            assert bool(torch.isfinite(compact.dense()).all())


DRAWN = {
    "seed": st.integers(0, 2**32 - 1),
    "kind": st.sampled_from(KINDS),
    "dtype": st.sampled_from(DTYPES),
    "share": st.floats(0, 1),
    "way": st.sampled_from(["rank", "energy", "tol", "gram", "randomized"]),
}


@settings(deadline=None)
@given(**DRAWN)
def test_some_matrices(seed, kind, dtype, share, way):
    check(seed, kind, dtype, share, way)


@pytest.mark.slow
def test_ten_thousand_matrices():
    COUNT.update(matrices=0, refused=0)

    @settings(deadline=None, max_examples=10_000, suppress_health_check=list(HealthCheck), database=None)
    @given(**DRAWN)
    def every(seed, kind, dtype, share, way):
        check(seed, kind, dtype, share, way)

    every()
    print(f"\n{COUNT['matrices']} matrices, {COUNT['refused']} of them refused with a reason, no crash")
    assert COUNT["matrices"] >= 10_000
