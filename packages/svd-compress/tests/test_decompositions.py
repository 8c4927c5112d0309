"""Cheaper decompositions against LAPACK's, the bound that decides, and what happens where a driver fails."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfi_command import BadInput
from svd_compress import decompositions, low_rank_approx, matrices
from svd_compress.decompositions import decompose, order_of_methods, posterior_bound, randomized

KINDS = ["flat", "falling", "steep", "low rank", "ties", "zeros"]


def drawn(seed, shape, kind):
    """A matrix with a known kind of spectrum, entries of about 1."""
    rng = np.random.default_rng(seed)
    p = min(shape)
    spectrum = {
        "flat": np.ones(p),
        "falling": np.exp(-0.1 * np.arange(p)),
        "steep": 10.0 ** -np.minimum(np.arange(p), 14.0),
        "low rank": (np.arange(p) < max(1, p // 4)).astype(float),
        "ties": np.repeat([1.0, 0.5], [(p + 1) // 2, p // 2]),
        "zeros": np.zeros(p),
    }[kind]
    U = np.linalg.qr(rng.standard_normal((shape[0], p)))[0]
    V = np.linalg.qr(rng.standard_normal((shape[1], p)))[0]
    return (U * spectrum) @ V.T


SHAPE = st.sampled_from([(1, 1), (1, 9), (9, 1), (30, 20), (20, 30), (25, 25), (60, 12)])


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shape=SHAPE, kind=st.sampled_from(KINDS), share=st.floats(0, 1))
def test_each_method_is_within_the_accuracy_it_was_asked_for(seed, shape, kind, share):
    A = drawn(seed, shape, kind)
    k = int(share * min(shape))
    sigma = np.linalg.svd(A, compute_uv=False)
    best = sigma[k] if k < len(sigma) else 0.0
    for method, accuracy in [("full", 0.0), ("gram", 1e-6), ("randomized", 1e-2)]:
        found = low_rank_approx(A, rank=k, accuracy=accuracy, method=method, seed=seed)
        residual = A - found.left @ found.right
        assert np.linalg.norm(residual, 2) <= best + (accuracy + 1e-12) * sigma[0]
        assert found.spectral_error == pytest.approx(best, abs=(accuracy + 1e-12) * sigma[0])
        assert np.linalg.norm(residual, 2) <= found.error_bound + (1e-7 if method == "gram" else 1e-12)
        slack = 1e-6 if method == "gram" else 1e-7
        assert np.linalg.norm(residual) == pytest.approx(found.frobenius_error, abs=slack)


def test_the_frobenius_error_of_a_full_decomposition_is_exact():
    A = drawn(3, (40, 30), "falling")
    sigma = np.linalg.svd(A, compute_uv=False)
    for k in range(31):
        found = low_rank_approx(A, rank=k)
        residual = A - found.left @ found.right
        assert abs(np.linalg.norm(residual) - math.sqrt(np.sum(sigma[k:] ** 2))) < 1e-12
        assert abs(np.linalg.norm(residual, 2) - (sigma[k] if k < 30 else 0)) < 1e-12
        assert abs(found.frobenius_error - math.sqrt(np.sum(sigma[k:] ** 2))) < 1e-12


def test_the_posterior_bound_holds_and_is_not_idle():
    A = drawn(5, (80, 60), "falling")
    Q = np.linalg.qr(A @ np.random.default_rng(0).standard_normal((60, 10)))[0]
    true = np.linalg.norm(A - Q @ (Q.T @ A), 2)
    bounds = [posterior_bound(A, Q, np.random.default_rng(seed)) for seed in range(200)]
    assert min(bounds) >= true
    assert np.median(bounds) < 30 * true


def test_a_sketch_that_misses_the_accuracy_is_not_taken():
    A = drawn(1, (200, 150), "flat")
    assert randomized(A, 10, accuracy=1e-6) is None
    assert decompose(A, rank=10, accuracy=1e-6, method="randomized").method == "full"
    steep = drawn(1, (200, 150), "steep")
    assert decompose(steep, rank=20, accuracy=1e-6, method="randomized").method == "randomized"


def test_the_cheapest_that_is_accurate_enough_comes_first():
    assert order_of_methods((4096, 4096), 64, 1e-3)[0] == "randomized"
    assert order_of_methods((4096, 4096), None, 1e-3)[0] == "gram"
    assert order_of_methods((4096, 4096), 4000, 1e-3)[0] == "gram"
    assert order_of_methods((4096, 4096), None, 1e-9) == ["full"]
    assert order_of_methods((4096, 4096), 64, 0.0) == ["full"]
    assert low_rank_approx(np.eye(6), rank=2).method == "full"


def test_sketches_follow_the_seed():
    A = drawn(2, (60, 50), "steep")
    first, again, other = (
        low_rank_approx(A, rank=5, accuracy=0.5, method="randomized", seed=s).left for s in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 1, "accuracy": -1.0}, "accuracy"),
        ({"rank": 1, "accuracy": math.nan}, "accuracy"),
        ({"rank": 1, "method": "magic"}, "method"),
        ({"energy": 0.5, "method": "randomized"}, "rank="),
        ({"rank": 4, "accuracy": 0.1, "method": "randomized"}, "rank is 4"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(BadInput, match=message):
        low_rank_approx(np.eye(3), **options)


def never(*_, **__):
    raise np.linalg.LinAlgError("did not converge")


@pytest.mark.parametrize("method", ["full", "gram"])
def test_a_failed_driver_is_followed_by_another_with_the_same_answer(monkeypatch, method):
    A = drawn(4, (12, 9), "falling")
    expected = low_rank_approx(A, rank=4, accuracy=1e-6, method=method)
    monkeypatch.setattr(np.linalg, "svd", never)
    monkeypatch.setattr(np.linalg, "eigh", never)
    again = low_rank_approx(A, rank=4, accuracy=1e-6, method=method)
    np.testing.assert_allclose(again.left @ again.right, expected.left @ expected.right, atol=1e-10)


@pytest.mark.parametrize("method", ["full", "gram"])
def test_where_both_drivers_fail_the_error_is_passed_on(monkeypatch, method):
    import scipy.linalg

    for module, name in [
        (np.linalg, "svd"),
        (np.linalg, "eigh"),
        (scipy.linalg, "svd"),
        (scipy.linalg, "eigh"),
    ]:
        monkeypatch.setattr(module, name, never)
    with pytest.raises(np.linalg.LinAlgError):
        low_rank_approx(drawn(4, (12, 9), "falling"), rank=4, accuracy=1e-6, method=method)


def test_modules_are_where_the_tests_patch_them():
    assert decompositions.svd is matrices.svd
