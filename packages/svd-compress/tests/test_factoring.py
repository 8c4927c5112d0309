"""The eigendecompositions of one side against the singular value decomposition of both."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mfi_command import BadInput
from svd_compress import baselines, factoring
from svd_compress.factoring import Factoring, factor
from svd_compress.gradients import Moments
from svd_compress.preparation import balanced
from svd_compress.whitening import whitened_factors

SHAPES = [(12, 7), (7, 12), (9, 9), (1, 6), (6, 1), (1, 1)]


def moment(rng, size, samples=40, spread=0.2):
    x = rng.standard_normal((samples, size)) * np.exp(-spread * np.arange(size))
    return x.T @ x / samples


def loss(W, product, gram, output_gram):
    left_out = W - product
    return float(np.trace(output_gram @ left_out @ gram @ left_out.T))


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), shape=st.sampled_from(SHAPES), sides=st.sampled_from(["x", "g", "xg", ""])
)
def test_every_truncation_is_as_good_as_the_best_and_the_tail_says_so(seed, shape, sides):
    rng = np.random.default_rng(seed)
    m, n = shape
    W = rng.standard_normal(shape)
    gram = moment(rng, n) if "x" in sides else np.eye(n)
    output_gram = moment(rng, m) if "g" in sides else np.eye(m)
    found = factor(
        torch.from_numpy(W),
        torch.from_numpy(gram) if "x" in sides else None,
        torch.from_numpy(output_gram) if "g" in sides else None,
        floor=0.0,
    )
    # Another road: the SVD of B^T W S itself.
    best = whitened_factors(W, gram, output_gram=output_gram, floor=0.0)
    scale = best.energies.sum() + 1e-300
    np.testing.assert_allclose(found.tail().numpy(), best.tail(), atol=1e-11 * scale)
    for k in range(min(shape) + 1):
        product = (found.left[:, :k] @ found.right[:k]).numpy()
        assert loss(W, product, gram, output_gram) == pytest.approx(best.tail()[k], abs=1e-8 * scale)


@pytest.mark.parametrize("kind", ["dead", "duplicate", "few tokens", "outlier", "zero"])
@pytest.mark.parametrize("shape", [(12, 10), (10, 12)])
def test_singular_moments_do_no_harm(kind, shape):
    rng = np.random.default_rng(7)
    n = shape[1]
    X = rng.standard_normal((4 if kind == "few tokens" else 50, n))
    if kind == "dead":
        X[:, [1, 4]] = 0.0
    elif kind == "duplicate":
        X[:, 3] = X[:, 2]
    elif kind == "outlier":
        X[:, 0] *= 1e4
    elif kind == "zero":
        X[:] = 0.0
    W = rng.standard_normal(shape)
    found = factor(torch.from_numpy(W), torch.from_numpy(X.T @ X), floor=1e-9)
    for k in (0, 3, 7, 10):
        product = (found.left[:, :k] @ found.right[:k]).numpy()
        assert np.isfinite(product).all()
        tail = np.linalg.svd(W @ X.T, compute_uv=False)[k:]
        slack = 1e-3 * np.linalg.norm(W) * np.linalg.norm(X) * (1 if kind == "outlier" else 0.1)
        assert np.linalg.norm((W - product) @ X.T) <= np.linalg.norm(tail) + slack
    whole = (found.left @ found.right).numpy()
    assert np.abs(whole - W).max() < 1e-6 * np.abs(W).max()


def test_bad_numbers_are_refused():
    W = torch.ones(3, 4)
    with pytest.raises(BadInput, match="W holds"):
        factor(torch.full((3, 4), torch.nan), None, floor=0.0)
    with pytest.raises(BadInput, match="gram holds"):
        factor(W, torch.full((4, 4), torch.inf), floor=0.0)


def failing(times):
    """An eigh that does not converge so many times."""
    left = [times]
    real = torch.linalg.eigh

    def eigh(A):
        if left[0] > 0:
            left[0] -= 1
            raise torch.linalg.LinAlgError("did not converge")
        return real(A)

    return eigh


@pytest.mark.parametrize("times", [1, 2])
def test_a_driver_that_fails_is_followed_by_another(monkeypatch, times):
    A = torch.from_numpy(moment(np.random.default_rng(1), 8))
    expected = torch.linalg.eigh(A)
    monkeypatch.setattr(torch.linalg, "eigh", failing(times))
    values, vectors = factoring.eigh(A)
    torch.testing.assert_close(values, expected[0], atol=1e-12, rtol=0)
    torch.testing.assert_close(vectors @ torch.diag(values) @ vectors.T, A, atol=1e-12, rtol=0)


def test_where_all_fail_there_is_an_error_and_no_other_weights(monkeypatch):
    import scipy.linalg

    def never(*_, **__):
        raise np.linalg.LinAlgError("did not converge")

    monkeypatch.setattr(torch.linalg, "eigh", failing(100))
    monkeypatch.setattr(scipy.linalg, "eigh", never)
    with pytest.raises(ArithmeticError, match="no eigenvalue driver converges"):
        factor(torch.randn(5, 4, dtype=torch.float64), None, floor=0.0)


def test_balanced_factors_have_the_same_product_and_fit_16_bits():
    rng = np.random.default_rng(6)
    gradients = 1e-10 * np.diag(np.geomspace(1, 1e-6, 12))
    W = torch.from_numpy(rng.standard_normal((12, 10)))
    gram = torch.from_numpy(1e8 * moment(rng, 10))
    factors = factor(W, gram, torch.from_numpy(gradients), floor=1e-8)
    left, right = balanced(factors, 7)
    torch.testing.assert_close(left @ right, factors.left[:, :7] @ factors.right[:7], atol=1e-9, rtol=0)
    torch.testing.assert_close(left.norm(dim=0), right.norm(dim=1))
    half = left.half().double() @ right.half().double()
    assert (half - left @ right).norm() <= 2e-3 * left.norm() * right.norm()
    assert torch.isfinite(torch.cat([left.flatten(), right.flatten()]).half()).all()


def test_balanced_factors_of_a_layer_of_zeros_are_zero():
    left, right = balanced(factor(torch.zeros(4, 3), None, floor=0.0), 2)
    assert torch.isfinite(left).all()
    assert (left @ right == 0).all()


@pytest.mark.parametrize("shape", [(12, 7), (7, 12)])
def test_the_methods_of_others_are_what_their_papers_say(shape):
    rng = np.random.default_rng(3)
    m, n = shape
    W = rng.standard_normal(shape)
    X = rng.standard_normal((40, n)) * np.geomspace(1, 30, n)
    seen = Moments(torch.from_numpy(X.T @ X / 40), torch.eye(m), torch.from_numpy(np.abs(X).mean(0)))
    U, sigma, Vt = np.linalg.svd(W)
    k = 4
    cut = lambda f: (f.left[:, :k] @ f.right[:k]).numpy()  # noqa: E731
    np.testing.assert_allclose(
        cut(baselines.plain(torch.from_numpy(W))), U[:, :k] * sigma[:k] @ Vt[:k], atol=1e-9
    )
    scale = np.abs(X).mean(0) ** 0.5
    U, sigma, Vt = np.linalg.svd(W * scale, full_matrices=False)
    expected = (U[:, :k] * sigma[:k]) @ Vt[:k] / scale
    np.testing.assert_allclose(cut(baselines.scaled(torch.from_numpy(W), seen)), expected, atol=1e-9)
    S = np.linalg.cholesky(X.T @ X / 40)
    U, sigma, Vt = np.linalg.svd(W @ S, full_matrices=False)
    expected = (U[:, :k] * sigma[:k]) @ Vt[:k] @ np.linalg.inv(S)
    np.testing.assert_allclose(cut(baselines.whitened(torch.from_numpy(W), seen)), expected, atol=1e-5)


def test_uniform_ranks_are_rounded_down():
    assert baselines.uniform_rank((576, 576), 0.9) == 259
    assert baselines.uniform_rank((2, 2), 0.1) == 1


def test_the_tail_adds_from_the_small_end():
    tiny = Factoring(torch.eye(3), torch.eye(3), torch.tensor([1e20, 1.0, 1e-20], dtype=torch.float64))
    assert tiny.tail().tolist() == [1e20 + 1.0, 1.0, 1e-20, 0.0]
