"""Trials of what chooses tokens: the exact nucleus in rational arithmetic, draws from an exact set.

A sampler has its own stream of random numbers, so its tokens are not compared with ours: they have to lie in
the set, to follow its distribution, and to depend on the row's seed, not on its place in the batch.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stable_ops.testing.library import Function, Library
from stable_ops.testing.target import in_one_line

Found = tuple[str, str, str, str]
_DRAWS = 1000
# Every float64 is a whole multiple of its inverse.
_WHOLE = 2**1074
# Of the G-test: a right sampler fails it once in a million runs.
_SIGNIFICANCE = 1e-6


def exact_nucleus(row: NDArray[Any], p: float) -> NDArray[np.bool_]:
    """The shortest prefix, by descending probability and ascending index, that holds p of the sum.

    In whole numbers throughout: one addition and one comparison a token.
    """
    weights = [int(Fraction(float(v)) * _WHOLE) for v in row]
    share = Fraction(p)
    needed = sum(weights) * share.numerator
    kept = np.zeros(len(weights), dtype=bool)
    total = 0
    for i in np.argsort(-row.astype(np.float64), kind="stable"):
        kept[i] = True
        total += weights[i]
        if total * share.denominator >= needed:
            break
    return kept


def exact_top_k(row: NDArray[Any], k: int) -> NDArray[np.bool_]:
    """The k largest, equal ones by ascending index; -inf never."""
    kept = np.zeros(row.size, dtype=bool)
    kept[np.argsort(-row.astype(np.float64), kind="stable")[:k]] = True
    return np.asarray(kept & (row > -np.inf))


def _rows(values: Any) -> NDArray[Any]:
    return np.array(values, dtype=np.float32)


def _probabilities() -> Iterator[tuple[str, NDArray[Any], float]]:
    """Rows whose nucleus is easy to get wrong."""
    rng = np.random.default_rng(0)
    yield "equal", np.full((3, 8), 0.125, np.float32), 0.5
    yield "on the border", _rows([[0.5, 0.25, 0.125, 0.125], [0.25, 0.25, 0.25, 0.25]]), 0.75
    yield "ties at the border", _rows([[0.125, 0.25, 0.125, 0.25, 0.25]]), 0.625
    yield "all", _rows([[0.5, 0.25, 0.25, 0.0]]), 1.0
    yield "one token", _rows([[0.9375, 0.0625]]), 0.25
    yield "just below the border", _rows([[0.5, 0.5 - 2**-25, 2**-25]]), 0.5 + 2**-40
    yield "not normalised", _rows([[3.0, 1.0, 2.0, 2.0]]), 0.5
    for scale, n in ((1.0, 1000), (4.0, 4097), (0.2, 30_000)):
        logits = (rng.standard_normal((4, n)) * scale).astype(np.float32)
        weights = np.exp(logits - logits.max(axis=-1, keepdims=True)).astype(np.float32)
        yield f"normal {scale}", (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32), 0.9
    x = np.round(rng.random((4, 500)) * 16).astype(np.float32)
    yield "many ties", x, 0.7


@functools.cache
def _nuclei() -> list[tuple[str, NDArray[Any], float, NDArray[np.bool_]]]:
    """The rows with their exact sets, worked out once for all samplers."""
    return [(*case, np.array([exact_nucleus(row, case[2]) for row in case[1]])) for case in _probabilities()]


def try_nucleus(function: Function, given: Library) -> Iterator[Found]:
    """f(probabilities, p) answers the mask of the exact nucleus of each row."""
    for name, probabilities, p, exact in _nuclei():
        try:
            got = np.asarray(given.take(function(given.give(probabilities), p))).astype(bool)
            alone = np.asarray(given.take(function(given.give(probabilities[-1:]), p))).astype(bool)
        except Exception as error:  # whatever somebody's sampler raises is a finding
            yield name, "float32", "raises", in_one_line(error)
            continue
        if got.shape != exact.shape:
            yield name, "float32", "kind", f"shape {got.shape} where {exact.shape} is expected"
            continue
        if (got != exact).any():
            row = int((got != exact).any(axis=-1).argmax())
            detail = (
                f"row {row} keeps {int(got[row].sum())} tokens, the exact set has {int(exact[row].sum())}"
            )
            yield name, "float32", "set", detail
        if (alone != got[-1:]).any():
            yield name, "float32", "batch", "the last row alone keeps other tokens than in the batch"


def _logits() -> Iterator[tuple[str, NDArray[Any], int, float]]:
    rng = np.random.default_rng(1)
    yield "ties", _rows([2.0, 1.0, 2.0, 1.0, 2.0, -np.inf]), 2, 1.0
    yield "ties at k", _rows([1.0, 0.5, 0.5, 0.5, -1.0]), 3, 1.0
    yield "few", _rows(np.log([0.5, 0.25, 0.125, 0.0625, 0.0625])), 5, 0.8
    yield "masked", _rows(np.where(np.arange(50) % 3 == 0, -np.inf, rng.standard_normal(50))), 50, 1.0
    yield "normal", _rows(rng.standard_normal(64)), 20, 0.9


def _shares(row: NDArray[Any], k: int, p: float) -> NDArray[np.float64]:
    """The distribution to draw from: the k largest, then the nucleus of their renormalised probabilities."""
    wide = row.astype(np.float64)
    weights = np.where(exact_top_k(row, k), np.exp(wide - wide.max()), 0.0)
    weights = np.where(exact_nucleus(weights, p), weights, 0.0)
    return np.asarray(weights / weights.sum())


def try_sample(function: Function, given: Library) -> Iterator[Found]:
    """f(logits, k, p, seeds) answers a token for each row: of the nucleus of its k largest, by its seed."""
    for name, row, k, p in _logits():
        shares = _shares(row, k, p)
        seeds = np.arange(_DRAWS, dtype=np.int64)
        batch = np.broadcast_to(row, (_DRAWS, row.size))

        def draw(rows: NDArray[Any], seeds: NDArray[np.int64], k: int = k, p: float = p) -> NDArray[Any]:
            tokens = function(given.give(rows), k, p, given.give(seeds))
            return np.asarray(given.take(tokens)).reshape(-1).astype(np.int64)

        try:
            tokens = draw(batch, seeds)
            again, reordered = draw(batch[:50], seeds[:50]), draw(batch, seeds[::-1])
            alone = np.concatenate([draw(batch[i : i + 1], seeds[i : i + 1]) for i in (0, 1, 77, 300)])
        except Exception as error:  # as above
            yield name, "float32", "raises", in_one_line(error)
            continue
        if tokens.shape != (_DRAWS,) or tokens.min() < 0 or tokens.max() >= row.size:
            detail = f"{tokens.shape} tokens for {_DRAWS} rows, or one beyond the vocabulary"
            yield name, "float32", "kind", detail
            continue
        if (shares[tokens] == 0).any():
            outside = sorted({int(t) for t in tokens[shares[tokens] == 0]})
            yield name, "float32", "set", f"drew tokens outside of the exact set: {outside[:5]}"
        elif (chance := _g_test(tokens, shares)) < _SIGNIFICANCE:
            yield name, "float32", "distribution", f"G-test of {_DRAWS} draws: p = {chance:.2g}"
        if (reordered[::-1] != tokens).any() or (alone != tokens[[0, 1, 77, 300]]).any():
            yield (
                name,
                "float32",
                "batch",
                "a row's token depends on its place in the batch",
            )
        if (again != tokens[:50]).any():
            yield name, "float32", "batch", "a row's token depends on how many rows there are"


def _g_test(tokens: NDArray[np.int64], shares: NDArray[np.float64]) -> float:
    """Chance of counts at least as far from their expectation."""
    from scipy.stats import chi2

    counts = np.bincount(tokens, minlength=shares.size)
    expected = shares * tokens.size
    seen = counts > 0
    statistic = 2 * float(np.sum(counts[seen] * np.log(counts[seen] / expected[seen])))
    return float(chi2.sf(statistic, max(1, int((shares > 0).sum()) - 1)))


SAMPLERS: dict[str, Callable[[Function, Library], Iterator[Found]]] = {
    "nucleus": try_nucleus,
    "sample": try_sample,
}


def try_sampler(
    function: Function, against: str, given: Library, on_progress: Callable[[int, int], None] | None
) -> tuple[int, list[Found]]:
    """How many tokens or mask elements were judged, and what is wrong."""
    outputs = sum(x.size for _, x, _, _ in _nuclei()) if against == "nucleus" else 5 * _DRAWS
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = list(SAMPLERS[against](function, given))
    if on_progress is not None:
        on_progress(1, 1)
    return outputs, found
