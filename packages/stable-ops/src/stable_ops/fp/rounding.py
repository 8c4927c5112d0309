"""One rounding from float64 to any format, and the distance between neighbours."""

from __future__ import annotations

import math
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput
from stable_ops.fp.formats import FP64, Format, get_format


@overload
def round_to(x: float, format: str | Format) -> float: ...
@overload
def round_to(x: Any, format: str | Format) -> Any: ...
def round_to(x: Any, format: str | Format) -> Any:
    """Round to the nearest number of a format, ties to even, once.

    Parameters
    ----------
    x : float, numpy array or torch tensor
        Any shape; read as float64, which holds every narrower format exactly.
    format : str or Format

    Returns
    -------
    float, numpy array or torch tensor
        Numbers of the format. float32 and float64 keep their dtype (a tensor its device), everything
        else comes back as float64, so that no second rounding can happen.

    Notes
    -----
    :math:`y = q\\,\\mathrm{rint}(x/q)`, with :math:`q` the distance of the format's numbers around x, a
    power of two, so both the quotient and the product are exact. Subnormals are kept. Beyond `max` the
    format's own rule holds: infinity (IEEE formats), NaN (e4m3fn), the largest number (e2m1).
    A cast float64 -> float32 -> float16 rounds twice and misses the nearest number when the first
    rounding lands on a tie of the second. Source: IEEE 754-2019 section 4.3.1; ml_dtypes agrees on every
    value (tests).

    Raises
    ------
    BadInput
        NaN into a format that has no NaN (fp4_e2m1).

    Examples
    --------
    >>> round_to(1 + 2**-11 + 2**-40, "fp16")  # float32 on the way would give 1.0
    1.0009765625
    """
    target = get_format(format)
    if isinstance(x, (int, float)):
        return round_scalar(float(x), target)
    from stable_ops.arrays import unwrap

    operand = unwrap(x)
    rounded = round_float64(operand.values.astype(np.float64), target)
    narrow = operand.values.dtype == np.float32 and target.bits <= 32
    return operand.like(rounded.astype(np.float32) if narrow else rounded)


def round_float64(x: NDArray[np.float64], target: Format) -> NDArray[np.float64]:
    """`round_to` for a float64 array."""
    if target.specials == "finite" and np.isnan(x).any():
        raise BadInput(f"{target.name} has no NaN: remove NaN before rounding to it")
    if target == FP64:
        return x.copy()
    drop = 52 - target.mantissa_bits
    bits = np.asarray(x).view(np.int64)
    # Half a unit less one plus the last kept bit: it carries above a tie, and at one on an odd number.
    carried = bits + (2 ** (drop - 1) - 1) + ((bits >> drop) & 1)
    y = (carried & -(2**drop)).view(np.float64)
    magnitude = np.abs(x)
    # Below the normal numbers the unit is fixed: adding 1.5 * 2^52 units leaves no bit below one.
    magic = 1.5 * 2.0**52 * target.min_subnormal
    with np.errstate(invalid="ignore"):
        y = np.where(magnitude < target.min_normal, np.copysign((magnitude + magic) - magic, x), y)
        y = np.where(np.abs(y) > target.max, np.copysign(target.overflow_to, x), y)
    return np.where(np.isnan(x), x, y)


def round_scalar(x: float, target: Format) -> float:
    """`round_to` for one number: the same rule, quick enough to call after each operation of a sum."""
    if x != x:
        if target.specials == "finite":
            raise BadInput(f"{target.name} has no NaN: remove NaN before rounding to it")
        return x
    if target == FP64:
        return x
    if not math.isinf(x):
        exponent = math.frexp(x)[1] if x else target.min_exponent
        shift = max(exponent - 1, target.min_exponent) - target.mantissa_bits
        # round() of a float is exact and ties to even; copysign keeps the sign of a zero.
        x = math.copysign(math.ldexp(round(math.ldexp(abs(x), -shift)), shift), x)
    return x if abs(x) <= target.max else math.copysign(target.overflow_to, x)


def ulp(x: Any, format: str | Format) -> Any:
    """Distance between neighbouring numbers of the format around x (a float, or a float64 array).

    :math:`2^{\\max(\\lfloor\\log_2|x|\\rfloor,\\, e_{min}) - M}`; at a power of two the larger, upper
    distance. Beyond the largest number the last distance holds; NaN for NaN and infinity. The definition
    of Goldberg as in Muller et al., Handbook of Floating-Point Arithmetic, section 2.3.2.

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
