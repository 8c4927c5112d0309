"""The nucleus of probabilities that are given as numbers, by rational arithmetic."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from mfi_command import BadInput
from stable_ops.arrays import Float64, unwrap
from stable_ops.fp.accumulate import exact_sum
from stable_ops.ops.sampling.settings import per_row, rows_of


def nucleus(probabilities: Any, p: Any = 0.9) -> Any:
    """The nucleus: the smallest set of most probable tokens that holds a share p of the probability.

    Parameters
    ----------
    probabilities : numpy array or torch tensor, shape (..., n)
        Not negative; a row need not sum to one, the share is of its exact sum.
    p : float, or one for each row
        In [0, 1]; used as stored, that is, 0.9 is the float64 next to it. 0 keeps one token.

    Returns
    -------
    bool array or tensor, shape (..., n)

    Notes
    -----
    Tokens are taken by descending probability, equal ones by ascending index, until their exact sum is at
    least p times the exact sum of the row. A cumulative float64 sum decides where it is far from
    the border; near it (within its own error bound) sums of rational numbers decide, so the set is exact.
    A float32 cumulative sum over 128,000 tokens misplaces the border by tokens. Cost O(n log n) a row.

    The weights of a softmax are themselves rounded: `sample` decides on the logits instead.

    Raises
    ------
    BadInput
        A p outside [0, 1], a negative, infinite or NaN probability, a row that sums to zero.

    References
    ----------
    Holtzman et al., The Curious Case of Neural Text Degeneration (2019).

    Examples
    --------
    >>> nucleus([0.25, 0.25, 0.25, 0.25], 0.5)
    array([ True,  True, False, False])
    """
    operand = unwrap(probabilities, "probabilities")
    rows = rows_of(operand)
    shares = per_row(p, "p", operand.values.shape[:-1], np.float64, (0.0, 1.0))
    if not (np.isfinite(rows).all() and (rows >= 0).all() and (rows.sum(axis=-1) > 0).all()):
        raise BadInput("probabilities must be finite, not negative and sum to more than zero: pass a softmax")
    kept = np.zeros(rows.shape, dtype=bool)
    for row, share, out in zip(rows, shares.tolist(), kept, strict=True):
        order = np.argsort(-row, kind="stable")
        out[order[: _size(row[order], share)]] = True
    return operand.like(kept.reshape(operand.values.shape))


def _size(descending: Float64, p: float) -> int:
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
