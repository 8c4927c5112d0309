"""Wrong choices of tokens: the set kept, and the draw from it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stable_ops.testing.faults.registry import Array, fault, wide

Mask = NDArray[np.bool_]


def _descending(rows: Array) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """The order of each row, ties by index; the sum before each token, and after it."""
    order = np.argsort(-rows, axis=-1, kind="stable")
    after = np.cumsum(np.take_along_axis(wide(rows), order, axis=-1), axis=-1)
    return order, _shifted(after), after


def _shifted(after: Array) -> Array:
    return np.concatenate([np.zeros_like(after[..., :1]), after[..., :-1]], axis=-1)


def _mask(order: NDArray[np.intp], keep: Any) -> Mask:
    """`keep`, in the order of the tokens, as a mask over the vocabulary."""
    mask = np.zeros(order.shape, dtype=bool)
    np.put_along_axis(mask, order, keep, axis=-1)
    return mask


@fault("nucleus", "<= for <: a prefix that holds exactly p takes one token more")
def nucleus_one_more(probabilities: Array, p: float) -> Array:
    order, before, after = _descending(probabilities)
    return _mask(order, before <= p * after[..., -1:])


@fault("nucleus", "the token that crosses p is left out")
def nucleus_one_less(probabilities: Array, p: float) -> Array:
    order, _, after = _descending(probabilities)
    return _mask(order, after <= p * after[..., -1:])


@fault("nucleus", "all tokens as probable as the last one are kept: a leak of ties")
def nucleus_tie_leak(probabilities: Array, p: float) -> Array:
    order, before, after = _descending(probabilities)
    kept = _mask(order, before < p * after[..., -1:])
    return np.asarray(probabilities >= np.where(kept, probabilities, np.inf).min(axis=-1, keepdims=True))


@fault("nucleus", "equal tokens by descending index")
def nucleus_last_index(probabilities: Array, p: float) -> Array:
    order, before, after = _descending(probabilities[..., ::-1])
    return _mask(order, before < p * after[..., -1:])[..., ::-1]


@fault("nucleus", "the sum is accumulated in float32")
def nucleus_fp32_sum(probabilities: Array, p: float) -> Array:
    order = np.argsort(-probabilities, axis=-1, kind="stable")
    ordered = np.take_along_axis(probabilities.astype(np.float32), order, axis=-1)
    after = np.add.accumulate(ordered, axis=-1, dtype=np.float32)
    return _mask(order, _shifted(after) < np.float32(p) * after[..., -1:])


@fault("nucleus", "the row is taken to sum to one")
def nucleus_not_normalised(probabilities: Array, p: float) -> Array:
    order, before, _ = _descending(probabilities)
    return _mask(order, before < p)


@fault("nucleus", "every row keeps as many tokens as the first")
def nucleus_first_row(probabilities: Array, p: float) -> Array:
    order, before, after = _descending(probabilities)
    kept = (before < p * after[..., -1:]).sum(axis=-1)[0]
    return _mask(order, np.broadcast_to(np.arange(order.shape[-1]) < kept, order.shape))


@fault("nucleus", "keeps everything")
def nucleus_everything(probabilities: Array, p: float) -> Array:
    return np.ones(probabilities.shape, dtype=bool)


def _top_k(rows: Array, k: int) -> Mask:
    order = np.argsort(-rows, axis=-1, kind="stable")
    keep = np.broadcast_to(np.arange(rows.shape[-1]) < k, rows.shape)
    return np.asarray(_mask(order, keep) & (rows > -np.inf))


def _weights(rows: Array, kept: Mask) -> NDArray[np.float64]:
    return np.where(kept, np.exp(wide(rows) - wide(rows).max(axis=-1, keepdims=True)), 0.0)


def _top_p(weights: NDArray[np.float64], p: float) -> NDArray[np.float64]:
    order, before, after = _descending(weights)
    return np.where(_mask(order, before < p * after[..., -1:]), weights, 0.0)


def _uniform(seeds: Any) -> NDArray[np.float64]:
    """One number in [0, 1) for each seed."""
    return np.array([np.random.Generator(np.random.Philox(int(seed))).random() for seed in seeds])


def _draw(weights: NDArray[np.float64], uniform: NDArray[np.float64]) -> Array:
    after = np.cumsum(weights, axis=-1)
    return np.asarray((after <= (uniform * after[..., -1])[:, None]).sum(axis=-1))


def _kth(logits: Array, k: int) -> Array:
    return np.sort(logits, axis=-1)[..., ::-1][..., min(k, logits.shape[-1]) - 1, None]


@fault("sample", "all logits equal to the k-th are kept: a leak of ties")
def sample_tie_leak(logits: Array, k: int, p: float, seeds: Array) -> Array:
    kept = (logits >= _kth(logits, k)) & (logits > -np.inf)
    return _draw(_top_p(_weights(logits, kept), p), _uniform(seeds))


@fault("sample", "> for >=: only what is above the k-th logit is kept")
def sample_above_kth(logits: Array, k: int, p: float, seeds: Array) -> Array:
    return _draw(_top_p(_weights(logits, logits > _kth(logits, k)), p), _uniform(seeds))


@fault("sample", "the stream is that of the place in the batch, not of the row's seed")
def sample_batch_position(logits: Array, k: int, p: float, seeds: Array) -> Array:
    places = int(seeds[0]) + np.arange(len(seeds))
    return _draw(_top_p(_weights(logits, _top_k(logits, k)), p), _uniform(places))


@fault("sample", "one stream for the batch, seeded by its first row")
def sample_one_stream(logits: Array, k: int, p: float, seeds: Array) -> Array:
    uniform = np.random.Generator(np.random.Philox(int(seeds[0]))).random(len(seeds))
    return _draw(_top_p(_weights(logits, _top_k(logits, k)), p), uniform)


@fault("sample", "the nucleus is that of the whole row, not of its k largest")
def sample_p_before_k(logits: Array, k: int, p: float, seeds: Array) -> Array:
    weights = _top_p(_weights(logits, logits > -np.inf), p)
    return _draw(np.where(_top_k(logits, k), weights, 0.0), _uniform(seeds))


@fault("sample", "every token of the set is drawn as often")
def sample_uniform(logits: Array, k: int, p: float, seeds: Array) -> Array:
    weights = _top_p(_weights(logits, _top_k(logits, k)), p)
    return _draw((weights > 0).astype(np.float64), _uniform(seeds))


@fault("sample", "draws from all tokens")
def sample_no_filter(logits: Array, k: int, p: float, seeds: Array) -> Array:
    return _draw(_weights(logits, logits > -np.inf), _uniform(seeds))


@fault("sample", "answers the most probable token")
def sample_greedy(logits: Array, k: int, p: float, seeds: Array) -> Array:
    return np.asarray(logits.argmax(axis=-1))


@fault("sample", "counts tokens from one")
def sample_off_by_one(logits: Array, k: int, p: float, seeds: Array) -> Array:
    return _draw(_top_p(_weights(logits, _top_k(logits, k)), p), _uniform(seeds)) + 1
