"""One row in order, and its prefixes: which of them reaches a share of the mass, over the real numbers.

The mass of a prefix is a sum of exp((x - max) / T) with stored, hence rational, x and T. Float64 decides
where its error bound allows. Elsewhere the sign of

    M(length) - ratio * M(n) = sum of c_v exp(a_v) over the distinct values v, with rational c_v and a_v,

is evaluated with as many decimal digits as it takes. That ends: exponentials of distinct rational numbers
are linearly independent over the rationals (Lindemann and Weierstrass), so the sum is zero only if every
c_v is.
"""

from __future__ import annotations

from bisect import bisect_left
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stable_ops.arrays import Float64

_FEWEST_DIGITS = 40
# exp(-10^6) has 434,294 zeros behind its point: beside any c_v that is not zero it does not count.
_VANISHED = -(10**6)
# Digits that arguments up to 10^6 and a sum of up to 10^8 rounded terms may cost.
_LOST_DIGITS = 16


class Descending:
    """The finite logits of a row by descending value, equal ones by ascending index, at a temperature > 0.

    Attributes
    ----------
    tokens : int64 array, shape (n,)
        The indices in that order.
    weights, cumulative : float64 arrays, shape (n,)
        exp((x - max) / T), and the sums of its prefixes.
    """

    def __init__(self, row: Float64, temperature: float) -> None:
        order = np.argsort(-row, kind="stable")
        self.tokens: NDArray[np.int64] = order[: int(np.count_nonzero(row > -np.inf))].astype(np.int64)
        self.values: Float64 = row[self.tokens]
        self.temperature = temperature
        with np.errstate(over="ignore"):
            gaps = (self.values - self.values[0]) / temperature
        self.gaps: Float64 = np.maximum(gaps, -800.0)  # exp(-746) is 0 in float64
        self.weights: Float64 = np.exp(self.gaps)
        self.cumulative: Float64 = np.cumsum(self.weights)
        total = float(self.cumulative[-1])
        # Two roundings of the argument, which are relative errors of exp; 2 ulp for exp itself; n additions.
        of_weights = float(self.weights @ -self.gaps) * 2.0**-52 + total * 2.0**-51
        self.slack: float = 2.0 * (of_weights + total * self.tokens.size * 2.0**-53) + total * 2.0**-50

    def reaching(self, ratio: Fraction, n: int) -> int:
        """The smallest length with M(length) >= ratio * M(n); at least 1."""
        if ratio == 1:
            return n
        target = float(ratio) * float(self.cumulative[n - 1])
        low = int(np.searchsorted(self.cumulative[:n], target - self.slack))
        high = int(np.searchsorted(self.cumulative[:n], target + self.slack))
        return self._first(low, min(high, n - 1), lambda i: self.sign(i + 1, ratio, n) >= 0) + 1

    def passing(self, numerators: NDArray[np.int64], denominator: int, n: int) -> NDArray[np.int64]:
        """For each ratio below 1 the index of the first token with M(index + 1) > ratio * M(n)."""
        target = numerators / denominator * self.cumulative[n - 1]
        low = np.searchsorted(self.cumulative[:n], target - self.slack, side="right")
        high = np.minimum(np.searchsorted(self.cumulative[:n], target + self.slack, side="right"), n - 1)
        for i in np.flatnonzero(low < high):
            ratio = Fraction(int(numerators[i]), denominator)
            low[i] = self._first(
                int(low[i]), int(high[i]), lambda j, ratio=ratio: self.sign(j + 1, ratio, n) > 0
            )
        found: NDArray[np.int64] = np.minimum(low, n - 1).astype(np.int64)
        return found

    def at_least(self, share: float) -> int:
        """How many tokens have a weight of at least that share of the largest one."""
        if share == 0:
            return self.tokens.size
        border = float(np.log(share))
        margin = (1.0 - border) * 2.0**-49
        low = int(np.searchsorted(-self.gaps, -border - margin))
        high = int(np.searchsorted(-self.gaps, -border + margin, side="right"))
        return self._first(low, high, lambda i: not self._exceeds(i, share))

    def sign(self, length: int, ratio: Fraction, n: int) -> int:
        """The sign of M(length) - ratio * M(n) over the real numbers, for a ratio below 1."""
        starts = np.flatnonzero(np.r_[True, self.values[1:n] != self.values[: n - 1]])
        counts = np.diff(np.r_[starts, n])
        inside = np.clip(length - starts, 0, counts)
        # Only the leading c_v can vanish, and only if the prefix ends inside the largest value: the others
        # are (1 - ratio) * count before that place and -ratio * count behind it.
        if inside[0] == ratio * int(counts[0]) and ratio != 0:
            return -1 if starts.size > 1 else 0
        digits = _FEWEST_DIGITS
        while True:
            value, bound = self._evaluate(starts, counts, inside, ratio, digits)
            if value.copy_abs() > bound:
                return 1 if value > 0 else -1
            digits *= 2

    def _evaluate(
        self, starts: NDArray[Any], counts: NDArray[Any], inside: NDArray[Any], ratio: Fraction, digits: int
    ) -> tuple[Decimal, Decimal]:
        """The sum and a bound of its error, in units of the ratio's denominator."""
        context = _context(digits)
        # Two sums, so that the ratio is multiplied once and not for each value.
        head, whole = Decimal(0), Decimal(0)
        for i, count, kept in zip(starts.tolist(), counts.tolist(), inside.tolist(), strict=True):
            gap = self._gap(i)
            if gap < _VANISHED:
                break
            weight = context.exp(_quotient(gap, context))
            whole = context.fma(weight, count, whole)
            head = context.fma(weight, kept, head)
        a = context.multiply(head, ratio.denominator)
        b = context.multiply(whole, ratio.numerator)
        return context.subtract(a, b), context.scaleb(context.add(a, b), _LOST_DIGITS - digits)

    def _exceeds(self, i: int, share: float) -> bool:
        """Whether the weight of token i is at least that share of the largest."""
        gap = self._gap(i)
        if gap == 0:
            return True
        digits = _FEWEST_DIGITS
        while share < 1:
            context = _context(digits)
            border = context.ln(Decimal(share))
            difference = context.subtract(_quotient(gap, context), border)
            if difference.copy_abs() > context.scaleb(border.copy_abs(), 4 - digits):
                return difference > 0
            digits *= 2
        return False

    def _gap(self, i: int) -> Fraction:
        """(x - max) / T as it is."""
        difference = Fraction(float(self.values[i])) - Fraction(float(self.values[0]))
        return difference / Fraction(self.temperature)

    @staticmethod
    def _first(low: int, high: int, holds: Any) -> int:
        """The first index from low on for which it holds, and high if none below it does."""
        return low + bisect_left(range(low, high), True, key=holds)


def _context(digits: int) -> Context:
    return Context(prec=digits, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])


def _quotient(value: Fraction, context: Context) -> Decimal:
    return context.divide(Decimal(value.numerator), Decimal(value.denominator))
