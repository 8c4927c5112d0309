"""Sums and dot products with a rounding after each operation, in a stated order."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfi_command import BadInput
from stable_ops.fp.formats import FP64, Format, get_format
from stable_ops.fp.rounding import Rounder, Rounding, Seed, ulp
from stable_ops.fp.sums import ORDERS, Order

# A sum rounded to odd in float64 and then to a format is rounded once up to this many mantissa bits.
_WIDEST = 24


@dataclass(frozen=True)
class Accumulation:
    """A simulated sum or dot product.

    Attributes
    ----------
    sum : float
        The result, a number of `format`.
    exact : float
        The sum of the stored values (after rounding each to the format), or of the exact products of them,
        rounded once to float64.
    relative_error : float
        :math:`|sum - exact| / |exact|` (infinite for a wrong sum of exact value zero).
    stagnated_at : int or None
        How many values had been added when the sum stopped changing although nonzero values were still
        to come; for "blocked" how many had been read when the first of the running sums did. None if it
        kept changing, for "pairwise", which has no running sum, and for stochastic rounding.
    format, accumulator, order, rounding : str
    count : int
        Number of values.
    """

    sum: float
    exact: float
    relative_error: float
    stagnated_at: int | None
    format: str
    accumulator: str
    order: str
    rounding: str
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
    rounding: Rounding = "nearest",
    seed: Seed = None,
) -> Accumulation:
    """Sum values as hardware of that format would: store them in it, round after each operation.

    Parameters
    ----------
    values : array_like, shape (n,)
    format : str or Format
        What the values and the result are stored in.
    order : {"sequential", "pairwise", "blocked", "kahan", "neumaier"}
        One running sum; a balanced tree of neighbours; `block` running sums over a stride of `block`, then
        halves added to halves (a thread block's reduction); a running sum with Kahan's compensation, or with
        Neumaier's, which also bears values larger than the sum.
    accumulator : str or Format, optional
        What the operations round to; `format` unless given ("fp32" for a GPU's usual choice).
    block : int
        Number of running sums of "blocked".
    rounding : {"nearest", "toward-zero", "stochastic"}
        Of every operation; the values are stored by rounding to nearest. Tensor cores of some GPUs add toward
        zero. "stochastic" does not stagnate on average.
    seed : int or numpy.random.Generator
        Needed for "stochastic".

    Returns
    -------
    Accumulation

    Notes
    -----
    A-priori bounds on :math:`|sum - exact| / \\sum|x_i|`, with unit roundoff :math:`u` (half of eps; eps
    for the other two roundings), to first order: sequential :math:`(n-1)u`, pairwise :math:`\\lceil\\log_2
    n\\rceil u`, blocked :math:`(\\lceil n/b\\rceil + \\log_2 b)u`, Kahan :math:`2u`, Neumaier :math:`n^2u^2`
    beside :math:`u\\,|sum|`. Stochastic rounding has mean error zero and a standard deviation of
    :math:`\\sqrt{n}\\,u` at most. A sequential sum of equal values stops at the power of two where a value is
    at most half of the distance to the next number.

    Every addition is exact before its one rounding: float64 rounded to odd keeps what a format of at most 25
    significant bits needs (Boldo, Melquiond 2008); fp64 itself adds as the processor does, to nearest only.
    Cost O(n): a microsecond or two a value in Python for sequential, five for Kahan and Neumaier. Source:
    Higham, Accuracy and Stability of Numerical Algorithms, chapter 4.

    Raises
    ------
    BadInput
        Values that are not one row of finite numbers, an unknown order or rounding, a block below 1,
        "stochastic" without a seed, an accumulator of 26 to 52 significant bits.

    Examples
    --------
    >>> accumulate([1e-4] * 10_000, format="fp16").sum
    0.25
    >>> accumulate([1e-4] * 10_000, format="fp16", rounding="stochastic", seed=0).stagnated_at is None
    True
    """
    target, to = _prepare(format, accumulator, order, block, rounding, seed)
    stored = Rounder(target).array(_row(values, "accumulate sums"))
    inner = Rounder(to.target).array(stored)
    total, stagnated_at = ORDERS[order](inner, to, block)
    return _report(total, exact_sum(stored), stagnated_at, target, to, order, stored.size)


def accumulate_dot(
    x: ArrayLike,
    y: ArrayLike,
    *,
    format: str | Format = "fp16",
    order: Order = "sequential",
    accumulator: str | Format | None = None,
    block: int = 128,
    fused: bool = True,
    rounding: Rounding = "nearest",
    seed: Seed = None,
) -> Accumulation:
    """The dot product of two rows as hardware of that format would compute it.

    Parameters
    ----------
    x, y : array_like, shape (n,)
    fused : bool
        A product enters the running sum exactly, as in a fused multiply-add; False rounds it to the
        accumulator first. Only "sequential" and "blocked" have a running sum to fuse with: the other orders
        round their products.
    format, order, accumulator, block, rounding, seed
        As in `accumulate`.

    Returns
    -------
    Accumulation
        `exact` is the sum of the exact products of the stored values.

    Notes
    -----
    To first order :math:`|sum - exact| \\le c\\,u \\sum|x_i y_i|` with the c of `accumulate`,
    plus 1 where products are rounded; relative to the result that is c u times the condition :math:`\\sum|x_i
    y_i| / |x^T y|`. Products of two numbers of at most 26 significant bits are exact in float64. Cost as
    `accumulate`. Source: Higham, section 3.1.

    Raises
    ------
    BadInput
        As `accumulate`; rows of different length, a format of more than 26 significant bits but fp64.

    Examples
    --------
    >>> accumulate_dot([300.0, 1.0], [300.0, 1.0], format="fp16", accumulator="fp32").sum
    inf
    >>> accumulate_dot([3.0] * 8, [0.125] * 8, format="fp8_e4m3fn").sum
    3.0
    """
    target, to = _prepare(format, accumulator, order, block, rounding, seed)
    if target.mantissa_bits > _WIDEST + 1:
        raise BadInput(f"products of {target.name} are not exact in float64: use fp32 or a narrower format")
    rows = [_row(v, "accumulate_dot multiplies") for v in (x, y)]
    if rows[0].size != rows[1].size:
        raise BadInput(f"the rows have {rows[0].size} and {rows[1].size} numbers: pass two of one length")
    stored = [Rounder(target).array(row) for row in rows]
    with np.errstate(invalid="ignore"):
        products = stored[0] * stored[1]
    terms = products if fused and order in ("sequential", "blocked") else to.array(products)
    total, stagnated_at = ORDERS[order](terms, to, block)
    return _report(total, exact_sum(products), stagnated_at, target, to, order, products.size)


def _prepare(
    format: str | Format,
    accumulator: str | Format | None,
    order: str,
    block: int,
    rounding: Rounding,
    seed: Seed,
) -> tuple[Format, Rounder]:
    target = get_format(format)
    inner = get_format(accumulator) if accumulator is not None else target
    if order not in ORDERS:
        raise BadInput(f"no order is named {order!r}: use one of {', '.join(ORDERS)}")
    if block < 1:
        raise BadInput(f"block must be at least 1, got {block}")
    if inner == FP64 and rounding != "nearest":
        raise BadInput("fp64 is added to nearest only: use a narrower accumulator, or rounding nearest")
    if inner.mantissa_bits > _WIDEST and inner != FP64:
        raise BadInput(
            f"sums in {inner.name} need more than float64 has: use at most {_WIDEST} mantissa bits"
        )
    for used in (target, inner):
        if used.specials == "fnu":
            raise BadInput(f"{used.name} has no zero and no sign to add with: use another format")
    return target, _NativeSums(inner) if inner == FP64 else Rounder(inner, rounding, seed)


class _NativeSums(Rounder):
    """Float64, whose additions the processor rounds itself."""

    def add(self, a: float, b: float) -> float:
        return a + b

    def add_arrays(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(a + b)


def _row(values: ArrayLike, does: str) -> NDArray[np.float64]:
    try:
        row = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{does} numbers, got something else: {error}") from error
    if row.ndim != 1:
        raise BadInput(f"{does} one row of numbers, got shape {row.shape}: pass a 1-D array")
    if not np.isfinite(row).all():
        raise BadInput(f"{does} finite numbers, got {row[~np.isfinite(row)][0]}: leave it out")
    return row


def _report(
    total: float,
    exact: Fraction | None,
    stagnated_at: int | None,
    target: Format,
    to: Rounder,
    order: str,
    count: int,
) -> Accumulation:
    result = Rounder(target).scalar(total) if total == total or target.has_nan else math.nan
    return Accumulation(
        sum=result,
        exact=_to_float(exact),
        relative_error=_relative_error(result, exact),
        # Stochastically, any later value may still move the sum.
        stagnated_at=None if to.rounding == "stochastic" else stagnated_at,
        format=target.name,
        accumulator=to.target.name,
        order=order,
        rounding=to.rounding,
        count=count,
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

    Parameters
    ----------
    values : array_like, shape (n,)
        Finite numbers.
    format : str or Format
    order : {"sequential", "pairwise"}

    Returns
    -------
    float
        In the unit of the values; infinite where a partial sum is beyond the largest number.

    Notes
    -----
    :math:`\\sqrt{\\sum_k \\mathrm{ulp}(s_k)^2 / 12}` over the stored values and all partial sums
    :math:`s_k`: each rounding taken as an independent uniform error of half an ulp. An estimate for
    values that are random and well above the ulp of the sum, not a bound: others stagnate or add up exactly.
    Cost O(n). Source: Higham and Mary, A New Approach to Probabilistic Rounding Error Analysis (2019), for
    the model.

    Raises
    ------
    BadInput
        Values that are not one row of finite numbers, an unknown format.

    Examples
    --------
    >>> predict_sum_error([1.5] * 4, format="fp8_e4m3fn") > predict_sum_error([1.5] * 4, format="fp16")
    True
    """
    target = get_format(format)
    row = _row(values, "predict_sum_error adds")
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
