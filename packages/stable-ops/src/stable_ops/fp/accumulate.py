"""Sums with a rounding after each operation, in a stated order."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfi_command import BadInput
from stable_ops.fp.formats import Format, get_format
from stable_ops.fp.rounding import round_float64, round_scalar, ulp

Order = Literal["sequential", "pairwise", "kahan", "blocked"]
_Sum = tuple[float, int | None]


@dataclass(frozen=True)
class Accumulation:
    """A simulated sum.

    Attributes
    ----------
    sum : float
        The result, a number of `format`.
    exact : float
        The sum of the stored values (after rounding each to the format), rounded once to float64.
    relative_error : float
        :math:`|sum - exact| / |exact|` (infinite for a wrong sum of exact value zero).
    stagnated_at : int or None
        How many values had been added when the sum stopped changing although nonzero values were still
        to come; None if it kept changing, and for orders without one running sum.
    """

    sum: float
    exact: float
    relative_error: float
    stagnated_at: int | None
    format: str
    accumulator: str
    order: str
    count: int

    def to_dict(self) -> dict[str, Any]:
        """The fields, as `stable-ops accumulate --json` prints them."""
        return asdict(self)


def accumulate(
    values: ArrayLike,
    *,
    format: str | Format = "fp16",
    order: Order = "sequential",
    accumulator: str | Format | None = None,
    block: int = 128,
) -> Accumulation:
    """Sum values as hardware of that format would: store them in it, round after each operation.

    Parameters
    ----------
    values : array_like, shape (n,)
    format : str or Format
        What the values and the result are stored in.
    order : {"sequential", "pairwise", "kahan", "blocked"}
        One running sum; a balanced tree of neighbours; a running sum with Kahan's compensation; `block`
        running sums over a stride of `block`, joined by a tree (a thread block's reduction).
    accumulator : str or Format, optional
        What the operations round to; `format` unless given ("fp32" for a GPU's usual choice).
    block : int
        Number of running sums of "blocked".

    Returns
    -------
    Accumulation

    Notes
    -----
    A-priori bounds on :math:`|sum - exact| / \\sum|x_i|`, with unit roundoff :math:`u` (half of eps),
    to first order: sequential :math:`(n-1)u`, pairwise :math:`\\lceil\\log_2 n\\rceil u`, blocked
    :math:`(\\lceil n/b\\rceil + \\log_2 b)u`, Kahan :math:`2u`. A sequential sum of equal values stops at
    the power of two where a value is at most half of the distance to the next number. Formats up to fp32 are
    added in float64 and rounded once, which is the correctly rounded sum, since float64 has more than 2p + 1
    bits (Figueroa 1995). Cost O(n) Python operations for sequential and Kahan. Source: Higham, Accuracy and
    Stability of Numerical Algorithms, chapter 4.

    Raises
    ------
    BadInput
        Values that are not one row of finite numbers, an unknown order, a block below 1.

    Examples
    --------
    >>> accumulate([1e-4] * 10_000, format="fp16").sum
    0.25
    """
    target = get_format(format)
    inner = get_format(accumulator) if accumulator is not None else target
    row = np.asarray(values, dtype=np.float64)
    if row.ndim != 1:
        raise BadInput(f"accumulate sums one row of numbers, got shape {row.shape}: pass a 1-D array")
    if not np.isfinite(row).all():
        raise BadInput(f"accumulate sums finite numbers, got {row[~np.isfinite(row)][0]}: leave it out")
    if order not in get_args(Order):
        raise BadInput(f"no order is named {order!r}: use one of {', '.join(get_args(Order))}")
    if block < 1:
        raise BadInput(f"block must be at least 1, got {block}")
    stored = round_float64(row, target)
    orders: dict[str, Callable[[], _Sum]] = {
        "sequential": lambda: _sequential(round_float64(stored, inner), inner),
        "pairwise": lambda: (_pairwise(round_float64(stored, inner), inner), None),
        "kahan": lambda: _kahan(round_float64(stored, inner), inner),
        "blocked": lambda: (_blocked(round_float64(stored, inner), inner, block), None),
    }
    total, stagnated_at = orders[order]()
    result = round_scalar(total, target)
    exact = exact_sum(stored)
    return Accumulation(
        sum=result,
        exact=_to_float(exact),
        relative_error=_relative_error(result, exact),
        stagnated_at=stagnated_at,
        format=target.name,
        accumulator=inner.name,
        order=order,
        count=row.size,
    )


def exact_sum(x: NDArray[np.float64]) -> Fraction | None:
    """The sum as a rational number; None if a value is not finite. Cost O(n log n), in 64-bit integers.

    Every float64 is an integer of 53 bits times a power of two: the integers of one power are added in
    two halves of 27 bits, which cannot overflow below 2^36 values.
    """
    if not np.isfinite(x).all():
        return None
    significand, exponent = np.frexp(x.ravel())
    integer = np.ldexp(significand, 53).astype(np.int64)
    powers, position = np.unique(exponent, return_inverse=True)
    high, low = np.zeros(powers.size, np.int64), np.zeros(powers.size, np.int64)
    np.add.at(high, position, integer >> 27)
    np.add.at(low, position, integer & (2**27 - 1))
    terms = zip(powers.tolist(), high.tolist(), low.tolist(), strict=True)
    return sum(((h * 2**27 + lo) * Fraction(2) ** (p - 53) for p, h, lo in terms), Fraction(0))


def predict_sum_error(
    values: ArrayLike, *, format: str | Format = "fp16", order: Literal["sequential", "pairwise"] = "pairwise"
) -> float:
    """Root-mean-square rounding error to expect of `accumulate`, storing the values included.

    :math:`\\sqrt{\\sum_k \\mathrm{ulp}(s_k)^2 / 12}` over the stored values and all partial sums
    :math:`s_k`: each rounding taken as an independent uniform error of half an ulp. An estimate for
    values that are random and well above the ulp of the sum, not a bound: others stagnate or add up exactly.
    Infinite where a partial sum is beyond the largest number. Source: Higham and Mary, A New Approach to
    Probabilistic Rounding Error Analysis (2019), for the model.
    """
    target = get_format(format)
    row = np.asarray(values, dtype=np.float64)
    partial = [row]
    if order == "sequential":
        partial.append(np.cumsum(row)[1:])
    else:
        while partial[-1].size > 1:
            pairs = partial[-1][: partial[-1].size // 2 * 2].reshape(-1, 2).sum(axis=1)
            partial.append(np.concatenate([pairs, partial[-1][pairs.size * 2 :]]))
    sums = np.concatenate(partial)
    if (np.abs(sums) > target.max).any():
        return math.inf
    return math.sqrt(float(np.sum(ulp(sums, target) ** 2)) / 12)


def _sequential(x: NDArray[np.float64], target: Format) -> _Sum:
    total, changed_at = 0.0, 0
    for i, value in enumerate(x.tolist(), start=1):
        new = round_scalar(total + value, target)
        if new != total:
            changed_at = i
        total = new
    return total, _stagnation(x, changed_at)


def _kahan(x: NDArray[np.float64], target: Format) -> _Sum:
    total, lost, changed_at = 0.0, 0.0, 0
    for i, value in enumerate(x.tolist(), start=1):
        corrected = round_scalar(value - lost, target)
        new = round_scalar(total + corrected, target)
        lost = round_scalar(round_scalar(new - total, target) - corrected, target)
        # A value held back in the compensation has not stagnated: it arrives later.
        if new != total or lost != 0.0:
            changed_at = i
        total = new
    return total, _stagnation(x, changed_at)


def _stagnation(x: NDArray[np.float64], changed_at: int) -> int | None:
    return changed_at if np.any(x[changed_at:] != 0) else None


def _pairwise(x: NDArray[np.float64], target: Format) -> float:
    if x.size == 0:
        return 0.0
    while x.size > 1:
        pairs = round_float64(x[: x.size // 2 * 2].reshape(-1, 2).sum(axis=1), target)
        x = np.concatenate([pairs, x[pairs.size * 2 :]])
    return float(x[0])


def _blocked(x: NDArray[np.float64], target: Format, block: int) -> float:
    padded = np.concatenate([x, np.zeros(-x.size % block)]).reshape(-1, block)
    lanes = np.zeros(block)
    for row in padded:
        lanes = round_float64(lanes + row, target)
    return _pairwise(lanes, target)


def _to_float(exact: Fraction | None) -> float:
    if exact is None:
        return math.nan
    try:
        return float(exact)
    except OverflowError:  # a float64 sum beyond the largest number
        return math.inf if exact > 0 else -math.inf


def _relative_error(result: float, exact: Fraction | None) -> float:
    if exact is None or not math.isfinite(result):
        return math.inf
    error = abs(Fraction(result) - exact)
    if exact == 0:
        return 0.0 if error == 0 else math.inf
    return _to_float(error / abs(exact))
