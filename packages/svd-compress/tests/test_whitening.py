"""The truncation is optimal for the outputs: by the identity, against perturbations, with singular Grams."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfi_command import BadInput
from svd_compress import whitened_approx
from svd_compress.whitening import square_root, whitened_factors

INPUTS = ["full", "dead", "duplicate", "few tokens", "outlier", "zero"]


def layer(seed, kind, m=12, n=10):
    """Weights (m, n) and inputs (n, tokens) of the kind of trouble named."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4 if kind == "few tokens" else 50))
    if kind == "dead":
        X[[1, 4]] = 0.0
    elif kind == "duplicate":
        X[3] = X[2]
    elif kind == "outlier":
        X[0] *= 1e4
    elif kind == "zero":
        X[:] = 0.0
    return rng.standard_normal((m, n)), X


def output_error(W, result, X):
    return np.linalg.norm((W - result.left @ result.right) @ X)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(INPUTS), rank=st.integers(0, 10))
def test_identity_and_optimality(seed, kind, rank):
    W, X = layer(seed, kind)
    result = whitened_approx(W, X @ X.T, rank, floor=1e-15)
    error, scale = output_error(W, result, X), np.linalg.norm(W @ X)
    # The optimum by another road: the SVD of the outputs themselves, W X, which never forms a Gram matrix.
    tail = np.linalg.svd(W @ X, compute_uv=False)[rank:]
    # Rounding of the Gram costs sqrt(eps) of the largest input.
    slack = 3e-7 * np.linalg.norm(W) * np.linalg.norm(X) + 1e-12
    assert abs(error - np.linalg.norm(tail)) <= slack
    if kind != "zero":
        assert abs(error - result.frobenius_error) <= slack
    rng = np.random.default_rng(seed)
    for size in (1e-3, 1e-1):
        left = result.left + size * rng.standard_normal(result.left.shape)
        right = result.right + size * rng.standard_normal(result.right.shape)
        assert np.linalg.norm((W - left @ right) @ X) >= error - slack
    assert error <= scale + slack


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(["full", "outlier"]), rank=st.integers(1, 9))
def test_beats_plain_truncation_on_the_outputs(seed, kind, rank):
    W, X = layer(seed, kind)
    U, sigma, Vt = np.linalg.svd(W)
    plain = (U[:, :rank] * sigma[:rank]) @ Vt[:rank]
    ours = output_error(W, whitened_approx(W, X @ X.T, rank), X)
    assert ours <= np.linalg.norm((W - plain) @ X) * (1 + 1e-9)


@pytest.mark.parametrize("kind", INPUTS)
def test_full_rank_gives_the_weights_back_whatever_the_gram(kind):
    W, X = layer(3, kind)
    result = whitened_approx(W, X @ X.T, 10)
    # Also where no token ever looked: another domain will.
    np.testing.assert_allclose(result.left @ result.right, W, atol=1e-9)


@pytest.mark.parametrize("kind", INPUTS)
def test_square_root_has_an_inverse_and_the_gram(kind):
    G = (lambda X: X @ X.T)(layer(4, kind)[1])
    S, inverse = square_root(G)
    np.testing.assert_allclose(S @ inverse, np.eye(10), atol=1e-9)
    if kind != "zero":
        np.testing.assert_allclose(S @ S.T, G, atol=2e-8 * np.abs(G).max())


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rank=st.integers(0, 10))
def test_two_sided_truncation_is_optimal_for_the_quadratic_form(seed, rank):
    W, X = layer(seed, "full")
    Y = np.random.default_rng(seed + 1).standard_normal((12, 60)) * np.geomspace(1, 1e-2, 12)[:, None]
    factors = whitened_factors(W, X @ X.T, output_gram=Y @ Y.T, floor=1e-15)
    difference = W - factors.left[:, :rank] @ factors.right[:rank]
    loss = np.linalg.norm(Y.T @ difference @ X) ** 2
    tail = np.sum(np.linalg.svd(Y.T @ W @ X, compute_uv=False)[rank:] ** 2)
    scale = np.linalg.norm(Y.T @ W @ X) ** 2
    assert abs(loss - tail) <= 1e-9 * scale
    assert abs(factors.tail()[rank] - tail) <= 1e-9 * scale


def test_torch_weights_give_torch_factors():
    torch = pytest.importorskip("torch")
    W, X = layer(5, "full")
    result = whitened_approx(torch.from_numpy(W).float(), X @ X.T, 6)
    assert result.left.dtype == torch.float32
    expected = whitened_approx(W, X @ X.T, 6)
    product = (result.left @ result.right).numpy()
    np.testing.assert_allclose(product, expected.left @ expected.right, atol=1e-5)


@pytest.mark.parametrize(
    ("gram", "rank", "message"),
    [
        (np.eye(9), 2, "columns"),
        (np.triu(np.ones((10, 10))), 2, "symmetric"),
        (np.full((10, 10), np.nan), 2, "NaN"),
        (np.eye(10), 11, "rank"),
    ],
)
def test_bad_input(gram, rank, message):
    with pytest.raises(BadInput, match=message):
        whitened_approx(layer(0, "full")[0], gram, rank)
