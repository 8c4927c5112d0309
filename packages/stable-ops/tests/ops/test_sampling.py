"""The nucleus against rational arithmetic, the draws against their distribution."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from mfi_command import BadInput
from stable_ops import nucleus, softmax, top_k_sample, top_p_sample


def exact_nucleus(probabilities: np.ndarray, p: float) -> list[bool]:
    """The definition, one Fraction at a time."""
    exact = [Fraction(float(v)) for v in probabilities]
    needed, total, kept = Fraction(p) * sum(exact), Fraction(0), [False] * len(exact)
    for i in sorted(range(len(exact)), key=lambda i: (-exact[i], i)):
        if total >= needed:
            break
        kept[i], total = True, total + exact[i]
    return kept


@given(
    st.integers(0, 2**32),
    st.sampled_from([1, 2, 10, 300]),
    st.sampled_from(["random", "ties", "border", "unnormalised"]),
    st.sampled_from([0.1, 0.5, 0.9, 1.0]),
    st.sampled_from([np.float16, np.float32, np.float64]),
)
def test_is_the_exact_set(seed, n, kind, p, dtype):
    rng = np.random.default_rng(seed)
    x = softmax(3 * rng.standard_normal(n)) if kind == "random" else rng.integers(1, 4, n) / (3.0 * n)
    if kind == "border":
        x = np.full(n, 1 / n)
    elif kind == "unnormalised":
        x = rng.random(n) * 10
    x = x.astype(dtype)
    assert nucleus(x, p).tolist() == exact_nucleus(x, p)


@pytest.mark.parametrize("count", [1, 3, 6, 9])
def test_the_border_on_a_tie_with_p(count):
    """Ten tenths: in float64 nine of them are less than 0.9 of their sum or not, by their last bits."""
    x = np.full(10, 0.1)
    p = count / 10
    assert nucleus(x, p).tolist() == exact_nucleus(x, p)


def test_many_rows_and_float32_sums():
    x = softmax(np.random.default_rng(3).standard_normal((2, 10_000)).astype(np.float32))
    kept = nucleus(x, 0.9)
    for row, mask in zip(x, kept, strict=True):
        assert mask.tolist() == exact_nucleus(row, 0.9)


def g_test(draws: np.ndarray, expected: np.ndarray) -> float:
    counts = np.bincount(draws, minlength=expected.size)
    assert counts[expected == 0].sum() == 0
    seen = counts > 0
    statistic = 2 * np.sum(counts[seen] * np.log(counts[seen] / (draws.size * expected[seen])))
    return float(chi2.sf(statistic, (expected > 0).sum() - 1))


@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.0])
def test_draws_follow_the_kept_distribution(temperature):
    logits = np.random.default_rng(4).standard_normal(50)
    weights = np.exp(logits / temperature)
    top = np.where(np.argsort(np.argsort(-logits)) < 10, weights, 0.0)
    draws = top_k_sample(logits, 10, temperature=temperature, seed=1, size=200_000)
    assert g_test(draws, top / top.sum()) > 1e-6
    held = np.where(exact_nucleus(weights, 0.8), weights, 0.0)
    draws = top_p_sample(logits, 0.8, temperature=temperature, seed=2, size=200_000)
    assert g_test(draws, held / held.sum()) > 1e-6


def test_the_g_test_finds_a_wrong_temperature():
    logits = np.random.default_rng(4).standard_normal(50)
    draws = top_k_sample(logits, 50, temperature=1.02, seed=1, size=200_000)
    assert g_test(draws, softmax(logits)) < 1e-6


def test_equal_logits_go_to_the_lower_index():
    assert set(top_k_sample(np.zeros(9), 3, size=1000).tolist()) == {0, 1, 2}
    assert set(top_p_sample(np.zeros(8), 0.5, size=1000).tolist()) == {0, 1, 2, 3}


def test_masked_tokens_are_never_drawn():
    x = np.array([-np.inf, 0.0, -np.inf, 0.0])
    assert set(top_k_sample(x, 4, size=1000).tolist()) == {1, 3}
    assert set(top_p_sample(x, 1.0, size=1000).tolist()) == {1, 3}


def test_shapes_and_streams():
    x = np.zeros((2, 3, 40))
    assert top_k_sample(x, 40).shape == (2, 3)
    draws = top_p_sample(x, size=50)
    assert draws.shape == (2, 3, 50)
    assert len({tuple(row) for row in draws.reshape(6, 50)}) == 6
    np.testing.assert_array_equal(draws, top_p_sample(x, size=50))
    # A row's stream depends on its index alone, not on the rows after it.
    np.testing.assert_array_equal(draws[0], top_p_sample(x[0], size=50))


def test_tensors():
    torch = pytest.importorskip("torch")
    tokens = top_k_sample(torch.tensor([[0.0, 9.0], [9.0, 0.0]], dtype=torch.bfloat16), 1)
    assert tokens.dtype == torch.int64
    assert tokens.tolist() == [1, 0]
    assert nucleus(torch.tensor([0.5, 0.5])).tolist() == [True, True]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nucleus([0.5, np.nan]), "finite"),
        (lambda: nucleus([0.5, -0.1]), "negative"),
        (lambda: nucleus([0.0, 0.0]), "zero"),
        (lambda: nucleus([1.0], 0.0), "p must"),
        (lambda: top_k_sample([1.0], 0), "k must"),
        (lambda: top_k_sample([1.0], 1, temperature=0.0), "temperature"),
        (lambda: top_k_sample([1.0], 1, size=0), "size"),
        (lambda: top_p_sample([np.nan, 1.0]), "NaN"),
        (lambda: top_p_sample([-np.inf, -np.inf]), "-inf alone"),
        (lambda: top_p_sample(np.zeros((2, 0))), "at least one token"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(BadInput, match=message):
        call()
