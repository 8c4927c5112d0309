"""Top-k and top-p sampling from an exact set of tokens."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput
from stable_ops.arrays import Float64, Operand, unwrap
from stable_ops.fp.accumulate import exact_sum


def nucleus(probabilities: Any, p: float = 0.9) -> Any:
    """The nucleus: the smallest set of most probable tokens that holds a share p of the probability.

    Parameters
    ----------
    probabilities : numpy array or torch tensor, shape (..., n)
        Not negative; a row need not sum to one, the share is of its exact sum.
    p : float
        In (0, 1]; used as stored, that is, 0.9 is the float64 next to it.

    Returns
    -------
    bool array or tensor, shape (..., n)

    Notes
    -----
    Tokens are taken by descending probability, equal ones by ascending index, until their exact sum is at
    least p times the exact sum of the row. A cumulative float64 sum decides where it is far from
    the border; near it (within its own error bound) sums of rational numbers decide, so the set is exact.
    A float32 cumulative sum over 128,000 tokens misplaces the border by tokens. Cost O(n log n) a row.

    Raises
    ------
    BadInput
        A p outside (0, 1], a negative, infinite or NaN probability, a row that sums to zero.

    References
    ----------
    Holtzman et al., The Curious Case of Neural Text Degeneration (2019).

    Examples
    --------
    >>> nucleus([0.25, 0.25, 0.25, 0.25], 0.5)
    array([ True,  True, False, False])
    """
    _require_share(p)
    operand = unwrap(probabilities, "probabilities")
    rows = _rows(operand)
    if not (np.isfinite(rows).all() and (rows >= 0).all() and (rows.sum(axis=-1) > 0).all()):
        raise BadInput("probabilities must be finite, not negative and sum to more than zero: pass a softmax")
    kept = np.zeros(rows.shape, dtype=bool)
    for row, out in zip(rows, kept, strict=True):
        order = np.argsort(-row, kind="stable")
        out[order[: _nucleus_size(row[order], p)]] = True
    return operand.like(kept.reshape(operand.values.shape))


def top_k_sample(
    logits: Any, k: int, *, temperature: float = 1.0, seed: int = 0, size: int | None = None
) -> Any:
    """Draw tokens from the k largest logits, in proportion to :math:`e^{x/T}`.

    Parameters
    ----------
    logits : numpy array or torch tensor, shape (..., n)
        -inf means never; equal logits at the border go to the lower index.
    k : int
        From 1; more than n means all.
    temperature : float
        T > 0.
    seed : int
        Row i draws from its own stream, numpy's Philox for (seed, i).
    size : int, optional
        Draws from each row; without it one, and no last axis.

    Returns
    -------
    int64 array or tensor, shape (...) or (..., size)

    Raises
    ------
    BadInput
        k or size below 1, a temperature that is not positive, logits with NaN, +inf, or -inf alone.

    Examples
    --------
    >>> top_k_sample([1.0, 5.0, 3.0], 1)
    np.int64(1)
    """
    if k < 1:
        raise BadInput(f"k must be at least 1, got {k}")
    return _sample(logits, lambda weights: min(k, weights.size), temperature, seed, size)


def top_p_sample(
    logits: Any, p: float = 0.9, *, temperature: float = 1.0, seed: int = 0, size: int | None = None
) -> Any:
    """Draw tokens from the nucleus of :math:`e^{x/T}`; parameters as `top_k_sample`, p as `nucleus`.

    The weights are float64 exponentials of the stored logits; the nucleus is exact for these weights.

    Examples
    --------
    >>> top_p_sample([0.0, 20.0, 0.0], 0.5, size=4)
    array([1, 1, 1, 1])
    """
    _require_share(p)
    return _sample(logits, lambda weights: _nucleus_size(weights, p), temperature, seed, size)


def _sample(logits: Any, count: Any, temperature: float, seed: int, size: int | None) -> Any:
    if not 0 < temperature < np.inf:
        raise BadInput(f"temperature must be a positive number, got {temperature}")
    if size is not None and size < 1:
        raise BadInput(f"size must be at least 1, got {size}")
    operand = unwrap(logits, "logits")
    rows = _rows(operand)
    if np.isnan(rows).any() or not np.isfinite(rows.max(axis=-1)).all():
        raise BadInput("logits hold NaN, +inf or a row of -inf alone: mask with -inf and leave a token")
    draws = [_draw_row(row, count, temperature, seed, i, size or 1) for i, row in enumerate(rows)]
    shape = operand.values.shape[:-1]
    tokens = np.array(draws, dtype=np.int64).reshape(shape if size is None else (*shape, size))
    return operand.like(tokens)


def _draw_row(
    row: Float64, count: Any, temperature: float, seed: int, index: int, size: int
) -> NDArray[np.int64]:
    # Sorted by logit, not by weight: exponentials of different logits can be equal.
    order = np.argsort(-row, kind="stable")
    weights = np.exp((row[order] - row[order[0]]) / temperature)
    cumulative = np.cumsum(weights[: count(weights)])
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, index])))
    chosen = np.searchsorted(cumulative, random.random(size) * cumulative[-1], side="right")
    # The product may round up to the last sum, which no draw should pass.
    tokens: NDArray[np.int64] = order[np.minimum(chosen, cumulative.size - 1)].astype(np.int64)
    return tokens


def _nucleus_size(descending: Float64, p: float) -> int:
    """Length of the shortest prefix whose exact sum is at least p times the exact sum of all."""
    cumulative = np.cumsum(descending)
    # n roundings of a sum of positive terms, on both sides of the comparison.
    slack = 2.0 * descending.size * 2.0**-53 * float(cumulative[-1])
    border = p * float(cumulative[-1])
    first = int(np.searchsorted(cumulative, border - slack))
    last = int(np.searchsorted(cumulative, border + slack))
    if first == last:
        return min(first, descending.size - 1) + 1
    needed = Fraction(p) * _exact(descending)
    total = _exact(descending[:first])
    for i in range(first, min(last, descending.size - 1) + 1):
        total += Fraction(float(descending[i]))
        if total >= needed:
            return i + 1
    return descending.size


def _exact(x: Float64) -> Fraction:
    total = exact_sum(x)
    assert total is not None, "weights were checked to be finite"
    return total


def _rows(operand: Operand) -> Float64:
    values = operand.values
    if values.ndim == 0 or values.shape[-1] == 0:
        raise BadInput(f"a row of at least one token is needed, got shape {values.shape}")
    return values.reshape(-1, values.shape[-1]).astype(np.float64)


def _require_share(p: float) -> None:
    if not 0 < p <= 1:
        raise BadInput(f"p must lie in (0, 1], got {p}")
