"""softmax of a row that arrives in blocks (the normaliser of FlashAttention)."""

from __future__ import annotations

from typing import Any

import numpy as np

from mfi_command import BadInput
from stable_ops.arrays import Float64, unwrap

# float64 holds e^709: up to this far above the reference the sum needs no new one. Every change of
# reference multiplies the sum by a rounded exponential, so rows in rising order would collect an error a
# block.
_HEADROOM = 300.0


class OnlineSoftmax:
    """The maximum and the sum of exponentials of rows seen so far, whichever block comes first.

    Parameters
    ----------
    rows : tuple of int
        Shape of the batch of rows, `()` for one row; blocks are `(*rows, k)`, any k, also 0.

    Attributes
    ----------
    maximum : numpy.ndarray, shape `rows`
        Largest value so far, -inf before any.

    Notes
    -----
    State for a row: the sum :math:`\\sum_j e^{x_j - r}` in double-double, for a reference r that follows
    the maximum only when it is exceeded by 300, since moving it costs a rounding. The order of blocks then
    changes the sum by about :math:`2^{-53}` relative: 16-bit probabilities are those of `softmax` bit by
    bit, except where the exact one is that close to a tie. Cost O(k) a block, O(1) memory a row. Source:
    Milakov and Gimelshein, Online normalizer calculation for softmax (2018); Dao et al., FlashAttention
    (2022).

    Examples
    --------
    >>> state = OnlineSoftmax()
    >>> state.update([1.0, 2.0])
    >>> state.update([3.0])
    >>> state.probabilities([3.0]).round(4)
    array([0.6652])
    """

    def __init__(self, rows: tuple[int, ...] = ()) -> None:
        self.maximum: Float64 = np.full(rows, -np.inf)
        self._reference: Float64 = np.full(rows, -np.inf)
        self._high: Float64 = np.zeros(rows)
        self._low: Float64 = np.zeros(rows)

    def update(self, block: Any) -> None:
        """Take in the next block of values, `(*rows, k)`, a numpy array or torch tensor.

        Raises
        ------
        BadInput
            If the leading shape is not that of the state.
        """
        x = unwrap(block, "block").values.astype(np.float64)
        if x.ndim == 0 or x.shape[:-1] != self.maximum.shape:
            raise BadInput(f"block has shape {x.shape}: pass {self.maximum.shape} and a last axis of values")
        self.absorb(x)

    def absorb(self, x: Float64) -> tuple[Float64, Float64]:
        """`update` for a float64 array, which answers what a weighted sum beside the state needs.

        Returns
        -------
        weights : float64 array, shape `(*rows, k)`
            :math:`e^{x_j - r}`.
        scale : float64 array, shape `rows`
            What an earlier weighted sum is to be multiplied by: 1 unless r has moved.
        """
        scale = self._move(np.maximum(self.maximum, x.max(axis=-1, initial=-np.inf)))
        with np.errstate(all="ignore"):
            weights = np.exp(x - _finite(self._reference)[..., None])
        self._add(weights.sum(axis=-1), np.zeros_like(self._low))
        return weights, scale

    @property
    def total(self) -> Float64:
        """Sum of all weights seen so far, shape `rows`; 0 before any."""
        return self._high

    def merge(self, other: OnlineSoftmax) -> None:
        """Take in the state of another part of the same rows."""
        if other.maximum.shape != self.maximum.shape:
            raise BadInput(f"states of rows {self.maximum.shape} and {other.maximum.shape} cannot merge")
        self._move(np.maximum(self.maximum, other.maximum))
        scale = _rescale(other._reference, self._reference)
        self._add(other._high * scale, other._low * scale)

    def logsumexp(self) -> Float64:
        """:math:`\\log\\sum_j e^{x_j}` of what was seen, float64, shape `rows`; -inf before any value."""
        with np.errstate(all="ignore"):
            # The low part is what a sum next to one has beside it.
            total = _finite(self._reference) + (np.log(self._high) + self._low / self._high)
        empty = np.where(np.isneginf(self.maximum), -np.inf, total)
        return np.asarray(np.where(np.isposinf(self.maximum), np.inf, empty))

    def probabilities(self, block: Any) -> Any:
        """softmax over all values seen, for the values of one block, in its dtype; rules of `softmax`."""
        operand = unwrap(block, "block")
        if operand.values.ndim == 0 or operand.values.shape[:-1] != self.maximum.shape:
            shape = operand.values.shape
            raise BadInput(f"block has shape {shape}: pass {self.maximum.shape} and a last axis of values")
        with np.errstate(all="ignore"):
            weights = np.exp(operand.values.astype(np.float64) - self._reference[..., None])
            return operand.restore(weights / self._high[..., None])

    def _move(self, maximum: Float64) -> Float64:
        """Set the maximum, and the reference where the headroom is used up; the factor this costs."""
        self.maximum = np.asarray(maximum)
        with np.errstate(invalid="ignore"):
            keep = (maximum <= self._reference + _HEADROOM) & np.isfinite(self._reference)
        reference = np.where(keep, self._reference, maximum)
        scale = _rescale(self._reference, reference)
        self._high, self._low = self._high * scale, self._low * scale
        self._reference = reference
        return scale

    def _add(self, high: Float64, low: Float64) -> None:
        """Add a double-double to the sum (Knuth's TwoSum)."""
        with np.errstate(invalid="ignore"):
            total = self._high + high
            part = total - self._high
            error = (self._high - (total - part)) + (high - part) + self._low + low
            self._high = np.asarray(total + error)
            self._low = np.asarray(error - (self._high - total))


def _finite(reference: Float64) -> Float64:
    # A row of -inf alone has reference -inf; x - (-inf) would be NaN where the term is 0.
    return np.where(np.isneginf(reference), 0.0, reference)


def _rescale(old: Float64, new: Float64) -> Float64:
    with np.errstate(all="ignore"):
        return np.asarray(np.where(np.isneginf(old) | (old == new), 1.0, np.exp(old - new)))
