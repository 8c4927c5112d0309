"""Eckart-Young in float64, the smallest rank, and matrices that break naive code."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfi_command import BadInput
from svd_compress import break_even_rank, low_rank_approx
from svd_compress.lowrank import spectrum_energies

SHAPES = [(1, 1), (1, 7), (9, 1), (8, 8), (20, 13), (13, 20), (40, 40)]


def matrix(seed, shape, decay=0.0):
    rng = np.random.default_rng(seed)
    m, n = shape
    U, _ = np.linalg.qr(rng.standard_normal((m, min(m, n))))
    V, _ = np.linalg.qr(rng.standard_normal((n, min(m, n))))
    return (U * 10.0 ** (-decay * np.arange(min(m, n)))) @ V.T * rng.uniform(0.1, 10)


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from(SHAPES),
    decay=st.sampled_from([0.0, 0.05, 0.5]),
    share=st.floats(0, 1),
)
def test_eckart_young_identities(seed, shape, decay, share):
    A = matrix(seed, shape, decay)
    p = min(shape)
    result = low_rank_approx(A, rank=round(share * p))
    residual = A - result.left @ result.right
    sigma_1 = np.linalg.norm(A, 2)
    # scipy's gesvd is another driver than the one under test.
    sigma = pytest.importorskip("scipy.linalg").svd(A, compute_uv=False, lapack_driver="gesvd")
    assert abs(np.linalg.norm(residual, 2) - result.spectral_error) <= 1e-12 * sigma_1
    assert abs(np.linalg.norm(residual) - result.frobenius_error) <= 1e-12 * sigma_1
    np.testing.assert_allclose(result.singular_values, sigma, atol=1e-13 * sigma_1)
    assert result.left.shape == (shape[0], result.rank)
    assert result.right.shape == (result.rank, shape[1])


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shape=st.sampled_from(SHAPES), energy=st.floats(0.01, 0.9999))
def test_energy_rank_is_the_smallest(seed, shape, energy):
    A = np.random.default_rng(seed).standard_normal(shape)
    k = low_rank_approx(A, energy=energy).rank
    total = np.sum(A**2)

    def kept(rank):
        approximation = low_rank_approx(A, rank=rank)
        return np.sum((approximation.left @ approximation.right) ** 2) / total

    assert kept(k) >= energy - 1e-12
    assert k == 0 or kept(k - 1) < energy + 1e-12


def test_energy_means_squared_singular_values():
    # Squares 9, 4, 1 of 14: one value holds 64 %, two hold 93 %. Unsquared they would hold 50 % and 83 %.
    A = np.diag([3.0, 2.0, 1.0])
    assert [low_rank_approx(A, energy=e).rank for e in (0.6, 0.65, 0.9, 0.93, 1.0)] == [1, 2, 2, 3, 3]


def test_full_energy_keeps_a_tail_that_rounds_away_in_a_plain_sum():
    A = np.diag([1.0, 1e-9, 1e-12])
    assert low_rank_approx(A, energy=1.0).rank == 3


def test_tolerance_is_relative_to_the_largest_singular_value():
    A = np.diag([100.0, 10.0, 1.0])
    assert [low_rank_approx(A, tol=t).rank for t in (0.5, 0.1, 0.05, 0.01, 0.0)] == [1, 1, 2, 2, 3]


def test_break_even_rank_is_the_largest_that_costs_no_more():
    for m in range(1, 60):
        for n in range(1, 60):
            r = break_even_rank(m, n)
            assert r * (m + n) <= m * n < (r + 1) * (m + n)
            below = low_rank_approx(np.eye(m, n), rank=min(r, m, n))
            assert below.saves == (below.left.size + below.right.size < m * n)


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1.0, 1e160, 1e300])
def test_huge_and_tiny_matrices(scale):
    A = np.array([[3.0, 1.0], [1.0, 2.0]])
    result = low_rank_approx(A * scale, rank=1)
    np.testing.assert_allclose(result.singular_values / scale, np.linalg.svd(A)[1], rtol=1e-12)
    np.testing.assert_allclose(result.frobenius_error / scale, np.linalg.svd(A)[1][1], rtol=1e-12)
    plain = low_rank_approx(A, rank=1)
    np.testing.assert_allclose((result.left @ result.right) / scale, plain.left @ plain.right, rtol=1e-12)


def test_zeros_have_rank_zero():
    result = low_rank_approx(np.zeros((4, 3)), energy=0.9)
    assert (result.rank, result.energy, result.frobenius_error) == (0, 1.0, 0.0)
    assert (result.left @ result.right == np.zeros((4, 3))).all()
    assert (spectrum_energies(np.zeros((4, 3))) == 0).all()


def test_types_come_back():
    torch = pytest.importorskip("torch")
    A = np.random.default_rng(0).standard_normal((6, 5))
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        result = low_rank_approx(torch.from_numpy(A).to(dtype), rank=5)
        assert result.left.dtype == result.right.dtype == dtype
        error = (result.left.double() @ result.right.double() - torch.from_numpy(A)).norm().item()
        assert error <= 100 * torch.finfo(dtype).eps * np.linalg.norm(A)
    assert low_rank_approx(A.astype(np.float32), rank=2).left.dtype == np.float32
    assert low_rank_approx(np.arange(6).reshape(2, 3), rank=1).left.dtype == np.float64
    bfloat16 = np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    assert low_rank_approx(A.astype(bfloat16), rank=2).left.dtype == bfloat16


@pytest.mark.parametrize(
    ("A", "options", "message"),
    [
        (np.ones(3), {"rank": 1}, "shape"),
        (np.ones((0, 3)), {"rank": 0}, "empty"),
        (np.array([[1.0, np.nan]]), {"rank": 1}, "NaN"),
        (np.array([[1.0, np.inf]]), {"rank": 1}, "infinite"),
        (np.array([[1.0, 1j]]), {"rank": 1}, "complex"),
        (np.eye(3), {}, "exactly one"),
        (np.eye(3), {"rank": 1, "energy": 0.5}, "exactly one"),
        (np.eye(3), {"rank": 4}, "0 to 3"),
        (np.eye(3), {"rank": -1}, "0 to 3"),
        (np.eye(3), {"energy": 0.0}, "energy"),
        (np.eye(3), {"energy": 95}, "energy"),
        (np.eye(3), {"tol": 1.5}, "tol"),
    ],
)
def test_bad_input_is_one_line(A, options, message):
    with pytest.raises(BadInput, match=message) as error:
        low_rank_approx(A, **options)
    assert "\n" not in str(error.value)


def test_a_failed_driver_is_followed_by_another_and_never_by_other_weights(monkeypatch):
    A = np.random.default_rng(1).standard_normal((6, 4))
    expected = low_rank_approx(A, rank=2)

    def fails(*arguments, **options):
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(np.linalg, "svd", fails)
    again = low_rank_approx(A, rank=2)
    np.testing.assert_allclose(again.left @ again.right, expected.left @ expected.right, atol=1e-12)
    monkeypatch.setattr("scipy.linalg.svd", fails)
    with pytest.raises(np.linalg.LinAlgError):
        low_rank_approx(A, rank=2)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shape=st.sampled_from(SHAPES), decay=st.sampled_from([0.0, 0.3]))
def test_energies_of_the_gram_route_agree_with_lapack(seed, shape, decay):
    A = matrix(seed, shape, decay)
    energies = spectrum_energies(A)
    sigma = np.linalg.svd(A, compute_uv=False)
    np.testing.assert_allclose(energies / energies.sum(), sigma**2 / np.sum(sigma**2), atol=1e-13)
