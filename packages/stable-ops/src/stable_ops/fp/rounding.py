"""One rounding from float64 to any format, and the distance between neighbours."""

from __future__ import annotations

import math
import struct
from typing import Any, Literal, get_args, overload

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput
from stable_ops.fp.formats import BF16, FP64, Format, get_format

Rounding = Literal["nearest", "toward-zero", "stochastic"]
Seed = int | np.random.Generator | None


@overload
def round_to(
    x: float, format: str | Format, *, rounding: Rounding = "nearest", seed: Seed = None
) -> float: ...
@overload
def round_to(x: Any, format: str | Format, *, rounding: Rounding = "nearest", seed: Seed = None) -> Any: ...
def round_to(x: Any, format: str | Format, *, rounding: Rounding = "nearest", seed: Seed = None) -> Any:
    """Round to a number of a format, once: the nearest with ties to even unless told otherwise.

    Parameters
    ----------
    x : float, numpy array or torch tensor
        Any shape; read as float64, which holds every narrower format exactly.
    format : str or Format
    rounding : {"nearest", "toward-zero", "stochastic"}
        "toward-zero" drops the digits that do not fit. "stochastic" takes the neighbour above with the
        probability of the distance from the one below, in units of their distance, so that the mean of many
        roundings is x.
    seed : int or numpy.random.Generator
        Needed for "stochastic": the same seed gives the same bits.

    Returns
    -------
    float, numpy array or torch tensor
        Numbers of the format. float32 and float64 keep their dtype (a tensor its device), everything
        else comes back as float64, so that no second rounding can happen.

    Notes
    -----
    :math:`y = q\\,\\mathrm{rint}(x/q)`, with :math:`q` the distance of the format's numbers
    around x, a power of two, so both the quotient and the product are exact; `floor` of the magnitude instead
    of `rint` toward zero, and of the magnitude plus a uniform number of 53 bits stochastically. Subnormals
    are kept. Beyond `max` the format's own rule holds: infinity (IEEE formats), NaN (e4m3fn), the largest
    number (e2m1). Toward zero a finite number ends at `max` (IEEE 754); stochastically, a number between
    `max` and where the next number would be becomes `max` or overflows. A cast float64 -> float32 -> float16
    rounds twice and misses the nearest number when the first rounding lands on a tie of the second. Cost
    O(n), about ten passes. Sources: IEEE 754-2019 section 4.3; Croci et al., Stochastic rounding:
    implementation, error analysis and applications (2022). ml_dtypes and gfloat agree on every value (tests).

    Raises
    ------
    BadInput
        NaN into a format that has no NaN (fp4_e2m1), an unknown rounding, "stochastic" without a seed.

    Examples
    --------
    >>> round_to(1 + 2**-11 + 2**-40, "fp16")  # float32 on the way would give 1.0
    1.0009765625
    >>> round_to(1.99, "fp8_e4m3fn"), round_to(1.99, "fp8_e4m3fn", rounding="toward-zero")
    (2.0, 1.875)
    >>> import numpy as np
    >>> thirds = round_to(np.full(10_000, 4 / 3), "fp4_e2m1", rounding="stochastic", seed=0)
    >>> np.unique(thirds).tolist(), round(float(thirds.mean()), 2)
    ([1.0, 1.5], 1.33)
    """
    target = get_format(format)
    rounder = Rounder(target, rounding, seed)
    if isinstance(x, (int, float)):
        return rounder.scalar(float(x))
    from stable_ops.arrays import unwrap

    operand = unwrap(x)
    rounded = rounder.array(operand.values.astype(np.float64))
    narrow = operand.values.dtype == np.float32 and target.bits <= 32
    return operand.like(rounded.astype(np.float32) if narrow else rounded)


class Rounder:
    """Rounding to one format in one mode: numbers, arrays, and sums of two rounded once.

    A sum of two float64 numbers is itself rounded. To nearest that does no harm for formats of at most 25
    bits (Figueroa 1995); in the other modes, and for products in wider ones, the sum is rounded to odd
    first (Boldo, Melquiond 2008), which keeps on which side of a border it lies.
    """

    def __init__(self, target: Format, rounding: Rounding = "nearest", seed: Seed = None) -> None:
        if rounding not in get_args(Rounding):
            raise BadInput(f"no rounding is named {rounding!r}: use one of {', '.join(get_args(Rounding))}")
        if rounding == "stochastic" and seed is None:
            raise BadInput("stochastic rounding draws random numbers: give a seed")
        self.target, self.rounding = target, rounding
        self._random = np.random.default_rng(seed) if rounding == "stochastic" else None

    def scalar(self, x: float) -> float:
        """One number, rounded."""
        if self.rounding == "nearest":
            return round_scalar(x, self.target)
        if not math.isfinite(x) or self.target.specials == "fnu":
            return float(self.array(np.array([x]))[0])
        shift = max(math.frexp(x)[1] - 1, self.target.min_exponent) - self.target.mantissa_bits
        units = math.ldexp(abs(x), -shift)
        kept = math.floor(units)
        if self._random is not None:
            kept += self._random.random() < units - kept
        y = math.ldexp(kept, shift)
        if y > self.target.max:
            y = self.target.max if self._random is None else self.target.overflow_to
        return math.copysign(y, x) + (0.0 if self.target.specials == "fnuz" else -0.0)

    def array(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """An array of any shape, rounded."""
        if self.rounding == "nearest":
            return round_float64(x, self.target)
        return _round_directed(x, self.target, self._random)

    def add(self, a: float, b: float) -> float:
        """a + b with one rounding, for any float64 a and b."""
        return self.scalar(add_to_odd(a, b))

    def add_arrays(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        """a + b elementwise with one rounding."""
        return self.array(add_arrays_to_odd(a, b))


def add_to_odd(a: float, b: float) -> float:
    """a + b in float64, of the two numbers around an inexact sum the one with an odd last bit."""
    total = a + b
    part = total - a
    error = (a - (total - part)) + (b - part)
    if error and math.isfinite(total) and not struct.pack("<d", total)[0] & 1:
        return math.nextafter(total, math.copysign(math.inf, error))
    return total


def add_arrays_to_odd(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """`add_to_odd` elementwise."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.asarray(a + b)
        part = total - a
        error = (a - (total - part)) + (b - part)
    moved = (error != 0) & np.isfinite(total) & (total.view(np.int64) & 1 == 0)
    return np.where(moved, np.nextafter(total, np.copysign(np.inf, error)), total)


def round_float64(x: NDArray[np.float64], target: Format) -> NDArray[np.float64]:
    """`round_to` nearest for a float64 array."""
    if not target.has_nan and np.isnan(x).any():
        raise _no_nan(target)
    if target == FP64:
        return x.copy()
    drop = 52 - target.mantissa_bits
    bits = np.asarray(x).view(np.int64)
    # Half a unit less one plus the last kept bit: it carries above a tie, and at one on an odd number.
    carried = bits + (2 ** (drop - 1) - 1) + ((bits >> drop) & 1) if drop else bits
    y = (carried & -(2**drop)).view(np.float64)
    magnitude = np.abs(x)
    # Below the normal numbers the unit is fixed: adding 1.5 * 2^52 units leaves no bit below one.
    magic = 1.5 * 2.0**52 * target.min_subnormal
    with np.errstate(invalid="ignore"):
        y = np.where(magnitude < target.min_normal, np.copysign((magnitude + magic) - magic, x), y)
        y = np.where(np.abs(y) > target.max, np.copysign(target.overflow_to, x), y)
    return _without_sign(np.where(np.isnan(x), x, y), x, target)


def _round_directed(
    x: NDArray[np.float64], target: Format, random: np.random.Generator | None
) -> NDArray[np.float64]:
    """Toward zero, or stochastically with a generator."""
    if not target.has_nan and np.isnan(x).any():
        raise _no_nan(target)
    finite = np.isfinite(x)
    magnitude = np.abs(np.where(finite, x, 0.0))
    exponent = np.maximum(np.frexp(magnitude)[1] - 1, target.min_exponent) - target.mantissa_bits
    units = np.ldexp(magnitude, -exponent)
    kept = np.floor(units)
    if random is not None:
        kept += random.random(x.shape) < units - kept
    y = np.ldexp(kept, exponent)
    y = np.where(y > target.max, target.max if random is None else target.overflow_to, y)
    y = np.copysign(np.where(finite, y, np.where(np.isnan(x), np.nan, target.overflow_to)), x)
    return _without_sign(y, x, target)


def _without_sign(y: NDArray[np.float64], x: NDArray[np.float64], target: Format) -> NDArray[np.float64]:
    """What a format without a negative zero, or without any sign, makes of the rounded numbers."""
    if target.specials == "fnuz":
        return y + 0.0  # -0 + 0 is +0
    if target.specials == "fnu":
        return np.where(x > 0, np.maximum(y, target.min_normal), np.nan)
    return y


def through_float32(y: NDArray[np.float32], x: NDArray[np.float64], target: Format) -> None:
    """Write to y, in C order, float32 numbers that round to a 16-bit format as those of x do.

    They are the nearest ones, but for what lies on a tie of the format in float32 and not in float64: that is
    moved one number toward x, off the tie.
    """
    np.copyto(y, x, casting="unsafe")
    # All zeros up to the last bit that is dropped: a tie, or a number of the format (of its subnormals, too).
    dropped = np.uint32((1 << (22 - target.mantissa_bits)) - 1)
    suspect = np.flatnonzero((y.view(np.uint32) & dropped) == 0)
    if suspect.size:
        flat, wide = y.reshape(-1), x.reshape(-1)[suspect]
        near = flat[suspect]
        toward = np.where(wide > near, np.float32(np.inf), np.float32(-np.inf))
        flat[suspect] = np.where(wide == near, near, np.nextafter(near, toward))


def round_bfloat16(x: NDArray[np.float64]) -> NDArray[np.float32]:
    """`round_float64` to bfloat16, several times as fast."""
    y = np.empty(np.shape(x), dtype=np.float32)
    through_float32(y, np.asarray(x), BF16)
    nan = np.isnan(y)
    bits = y.view(np.uint32)
    bits += 0x7FFF + ((bits >> 16) & 1)
    bits &= 0xFFFF0000
    if nan.any():
        y[nan] = np.nan
    return y


def round_small(x: NDArray[np.float64], target: Format) -> None:
    """Round, in place, what lies below the normal numbers of a format.

    numpy's cast to float16 raises a flag for each subnormal number that it rounds, at 30 times the cost of a
    normal one.
    """
    small = (x < target.min_normal) & (x > -target.min_normal)
    if small.any():
        y = x[small]
        # Adding 1.5 * 2^52 units leaves no bit below one.
        magic = 1.5 * 2.0**52 * target.min_subnormal
        x[small] = np.copysign((y + magic) - magic, y)


def round_scalar(x: float, target: Format) -> float:
    """`round_to` nearest for one number, quick enough to call after each operation of a sum."""
    if x != x:
        if not target.has_nan:
            raise _no_nan(target)
        return x
    if target is FP64:
        return x
    if target.mantissa_bits == 52 or target.specials == "fnu":
        return float(round_float64(np.array([x]), target)[0])
    if not math.isinf(x):
        exponent = math.frexp(x)[1] if x else target.min_exponent
        shift = max(exponent - 1, target.min_exponent) - target.mantissa_bits
        # round() of a float is exact and ties to even; copysign keeps the sign of a zero.
        x = math.copysign(math.ldexp(round(math.ldexp(abs(x), -shift)), shift), x)
    y = x if abs(x) <= target.max else math.copysign(target.overflow_to, x)
    return y + 0.0 if target.specials == "fnuz" else y


def ulp(x: Any, format: str | Format) -> Any:
    """Distance between neighbouring numbers of the format around x.

    Parameters
    ----------
    x : float or array_like, any shape
        Read as float64.
    format : str or Format

    Returns
    -------
    float, or float64 numpy array of the shape of x

    Notes
    -----
    :math:`2^{\\max(\\lfloor\\log_2|x|\\rfloor,\\, e_{min}) - M}`; at a power of two the larger, upper
    distance. Beyond the largest number the last distance holds; NaN for NaN and infinity. Exact; cost O(n).
    Source: the definition of Goldberg as in Muller et al., Handbook of Floating-Point Arithmetic, section
    2.3.2.

    Raises
    ------
    BadInput
        An unknown format.

    Examples
    --------
    >>> ulp(0.25, "fp16")
    0.000244140625
    """
    target = get_format(format)
    values = np.abs(np.asarray(x, dtype=np.float64))
    _, exponent = np.frexp(np.where(np.isfinite(values), np.minimum(values, target.max), 0.0))
    # frexp(0) has exponent 0, which is far above the smallest one.
    exponent = np.where(values == 0, target.min_exponent, exponent - 1)
    distance = np.ldexp(1.0, np.maximum(exponent, target.min_exponent) - target.mantissa_bits)
    result = np.where(np.isfinite(values), distance, np.nan)
    return float(result) if result.ndim == 0 else result


def _no_nan(target: Format) -> BadInput:
    return BadInput(f"{target.name} has no NaN: remove NaN before rounding to it")
