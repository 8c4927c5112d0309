"""Attention block by block against the whole at once in longdouble."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from stable_ops import attention
from stable_ops.fp import round_to


def drawn(seed, lead=(2,), m=7, n=11, d=8, e=5, scale=3.0):
    rng = np.random.default_rng(seed)
    return tuple(scale * rng.standard_normal((*lead, *shape)) for shape in ((m, d), (n, d), (n, e)))


def whole(q, k, v, *, causal=False, mask=None, scale=None):
    """The definition; zero where nothing may be looked at."""
    q, k, v = (np.asarray(x, np.float64).astype(np.longdouble) for x in (q, k, v))
    m, n = q.shape[-2], k.shape[-2]
    scores = (q[..., :, None, :] * k[..., None, :, :]).sum(-1)
    scores = scores * np.longdouble(1 / np.sqrt(q.shape[-1]) if scale is None else scale)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    if causal:
        scores = np.where(np.tril(np.ones((m, n), bool), n - m), scores, -np.inf)
    peak = scores.max(-1, keepdims=True)
    weights = np.exp(scores - np.where(np.isneginf(peak), 0, peak))
    total = weights.sum(-1)[..., None]
    return (weights[..., None] * v[..., None, :, :]).sum(-2) / np.where(total == 0, 1, total)


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(7, 11), (11, 7), (1, 1), (33, 64), (4, 1)]),
    st.sampled_from([1, 3, 16, 1000]),
    st.booleans(),
    st.booleans(),
)
def test_any_block_gives_the_definition(seed, lengths, block, causal, masked):
    m, n = lengths
    q, k, v = drawn(seed, m=m, n=n)
    mask = np.random.default_rng(seed).random((2, m, n)) < 0.6 if masked else None
    got = attention(q, k, v, causal=causal, mask=mask, block=block)
    np.testing.assert_allclose(got, whole(q, k, v, causal=causal, mask=mask).astype(float), 1e-12, 1e-12)


@given(st.integers(0, 2**32 - 1), st.permutations(range(11)), st.sampled_from([1, 2, 5]))
def test_neither_block_nor_order_shows_in_16_bits(seed, order, block):
    q, k, v = (x.astype(np.float16) for x in drawn(seed))
    expected = round_to(whole(q, k, v).astype(np.float64), "fp16")
    got = attention(q, k[:, order], v[:, order], block=block)
    assert got.dtype == np.float16
    np.testing.assert_array_equal(got.astype(np.float64), expected)


def test_padding_and_queries_that_see_nothing():
    """Padded keys count for nothing; a padded query answers zero, whichever block its keys are in."""
    q, k, v = drawn(1)
    mask = np.arange(11) < np.array([6, 0])[:, None, None]
    for block in (1, 4, 11):
        got = attention(q, k, v, mask=mask, block=block)
        np.testing.assert_allclose(got[0], attention(q[0], k[0, :6], v[0, :6]), 1e-13, 1e-13)
        np.testing.assert_array_equal(got[1], np.zeros((7, 5)))
    added = np.where(mask, 0.0, -np.inf)
    np.testing.assert_array_equal(attention(q, k, v, mask=added), attention(q, k, v, mask=mask))


def test_causal_queries_are_the_last_ones():
    q, k, v = drawn(2, m=5, n=9)
    full = attention(np.concatenate([np.zeros((2, 4, 8)), q], axis=1), k, v, causal=True)
    np.testing.assert_allclose(attention(q, k, v, causal=True, block=2), full[:, 4:], 1e-13, 1e-13)
    # More queries than keys: the first see nothing.
    early = attention(k, q, v[:, :5], causal=True)
    np.testing.assert_array_equal(early[:, :4], np.zeros((2, 4, 5)))
    assert (early[:, 4:] != 0).all()


def test_scores_far_above_what_exp_holds():
    """Rising by 400 a block: the reference moves each time, and what was summed has to move with it."""
    q, k, v = np.ones((1, 1)), 400.0 * np.arange(8)[:, None], np.arange(8.0)[:, None]
    k[6] = k[7] - 1.0
    expected = whole(q, k, v, scale=1.0).astype(float)
    for order in (np.arange(8), np.arange(8)[::-1], np.array([7, 0, 6, 1, 5, 2, 4, 3])):
        np.testing.assert_allclose(attention(q, k[order], v[order], scale=1.0, block=1), expected, 1e-14)


def test_torch_agrees_heads_that_share_keys_included():
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, 4, 37, 16, generator=generator)
    k, v = (torch.randn(2, 1, 37, 16, generator=generator) for _ in range(2))
    got = attention(q, k, v, causal=True, block=10)
    wide = (x.double().expand(2, 4, 37, 16) for x in (q, k, v))
    theirs = torch.nn.functional.scaled_dot_product_attention(*wide, is_causal=True)
    assert (got.dtype, got.shape) == (torch.float32, q.shape)
    assert torch.equal(got, theirs.float()) or (got - theirs).abs().max() < 1e-7


def test_nothing_to_see():
    assert attention(np.ones((3, 2)), np.ones((0, 2)), np.ones((0, 4))).tolist() == np.zeros((3, 4)).tolist()
    assert attention(np.ones((0, 2)), np.ones((5, 2)), np.ones((5, 4))).shape == (0, 4)
    assert np.isnan(attention([[np.nan]], [[1.0]], [[1.0]])).all()


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        (((3, 2), (4, 3), (4, 1)), {}, "do not fit"),
        (((3, 2), (4, 2), (5, 1)), {}, "do not fit"),
        (((2,), (4, 2), (4, 1)), {}, "do not fit"),
        (((2, 3, 2), (3, 4, 2), (3, 4, 1)), {}, "do not broadcast"),
        (((3, 2), (4, 2), (4, 1)), {"mask": np.ones((2, 4), bool)}, "mask has shape"),
        (((3, 2), (4, 2), (4, 1)), {"block": 0}, "block"),
    ],
)
def test_bad_input(shapes, options, message):
    with pytest.raises(BadInput, match=message):
        attention(*(np.zeros(shape) for shape in shapes), **options)
