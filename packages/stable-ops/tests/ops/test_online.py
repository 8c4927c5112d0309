"""Blocks in hostile orders against the row at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from stable_ops import OnlineSoftmax, logsumexp, softmax
from stable_ops.testing.inputs import KINDS
from stable_ops.testing.strategies import rows

ORDERS = {
    "as it comes": lambda x: np.arange(x.size),
    "ascending": lambda x: np.argsort(x),
    "descending": lambda x: np.argsort(-x),
    "largest last": lambda x: np.roll(np.arange(x.size), -1 - int(np.argmax(x))),
}


def blockwise(x: np.ndarray, size: int) -> np.ndarray:
    """Two passes over blocks, the second half of them through a state that is merged."""
    blocks = [x[..., i : i + size] for i in range(0, x.shape[-1], size)]
    first, second = OnlineSoftmax(x.shape[:-1]), OnlineSoftmax(x.shape[:-1])
    for i, block in enumerate(blocks):
        (first if i < len(blocks) / 2 else second).update(block)
    first.merge(second)
    return np.concatenate([first.probabilities(b) for b in blocks], axis=-1)


@given(
    rows(dtypes=["float16"], shapes=[(1, 7), (1, 129), (1, 1000)], kinds=[*KINDS, "masked"]),
    st.sampled_from(list(ORDERS)),
    st.sampled_from([1, 3, 64]),
)
def test_any_order_gives_the_bits_of_one_pass(drawn, order, size):
    x = drawn.array[0]
    x = x[ORDERS[order](x.astype(np.float64))]
    np.testing.assert_array_equal(blockwise(x, size), softmax(x))


def test_bfloat16_where_the_reference_moves_often():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = np.linspace(-30_000, 30_000, 3000).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(blockwise(x, 1), softmax(x))


def test_a_batch_of_rows():
    x = np.random.default_rng(0).standard_normal((4, 3, 100)).astype(np.float16)
    np.testing.assert_array_equal(blockwise(x, 17), softmax(x))


def test_masked_and_undefined_rows():
    x = np.array([[-np.inf, -np.inf], [-np.inf, 1.0], [np.nan, 1.0], [np.inf, 1.0]])
    np.testing.assert_array_equal(blockwise(x, 1), softmax(x))
    state = OnlineSoftmax((4,))
    state.update(x[:, :1])
    state.update(x[:, 1:])
    np.testing.assert_array_equal(state.logsumexp(), logsumexp(x))


def test_blocks_of_nothing_anywhere():
    """Empty blocks, blocks of -inf alone, states that saw nothing: none of them changes a bit."""
    x = np.random.default_rng(3).standard_normal((2, 40)).astype(np.float16)
    state = OnlineSoftmax((2,))
    for part in (
        x[:, :0],
        np.full((2, 3), -np.inf),
        x[:, :17],
        np.full((2, 1), -np.inf),
        x[:, 17:],
        x[:, :0],
    ):
        state.merge(OnlineSoftmax((2,)))
        state.update(part)
        state.merge(OnlineSoftmax((2,)))
    np.testing.assert_array_equal(state.probabilities(x), softmax(x))
    empty = OnlineSoftmax((2,))
    empty.merge(state)
    np.testing.assert_array_equal(empty.probabilities(x), softmax(x))


@given(rows(dtypes=["float16"], shapes=[(1, 129)], kinds=[*KINDS, "masked"]), st.integers(0, 2**32 - 1))
def test_any_tree_of_merges_gives_the_bits_of_one_pass(drawn, seed):
    x, rng = drawn.array[0], np.random.default_rng(seed)
    states = []
    for part in np.split(rng.permutation(x), np.sort(rng.integers(0, x.size, 9))):
        states.append(OnlineSoftmax())
        states[-1].update(part)
    while len(states) > 1:
        left, right = (states.pop(int(rng.integers(len(states)))) for _ in range(2))
        left.merge(right)
        states.append(left)
    np.testing.assert_array_equal(states[0].probabilities(x), softmax(x))


def test_a_sum_next_to_one_keeps_its_small_part():
    state = OnlineSoftmax()
    for value in (0.0, -50.0):
        state.update([value])
    np.testing.assert_allclose(state.logsumexp(), logsumexp([0.0, -50.0]), 1e-12)


def test_nothing_seen_yet():
    state = OnlineSoftmax()
    state.update(np.zeros(0))
    assert state.logsumexp() == -np.inf
    state.merge(OnlineSoftmax())
    assert state.maximum == -np.inf


def test_other_shapes_are_refused():
    state = OnlineSoftmax((2,))
    with pytest.raises(BadInput, match="block has shape"):
        state.update(np.zeros((3, 4)))
    with pytest.raises(BadInput, match="cannot merge"):
        state.merge(OnlineSoftmax((3,)))
    with pytest.raises(BadInput, match="block has shape"):
        state.probabilities(np.zeros((3, 4)))
