"""Error in units in the last place, and the assertion on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from stable_ops.arrays import Float64, unwrap
from stable_ops.fp.formats import Format, get_format
from stable_ops.fp.rounding import round_float64, ulp

# An oracle in float64 or wider is this close to the truth; a value this close to a tie may go either way.
ORACLE_ERROR = 2.0**-40


def error_ulp(
    actual: Any, expected: Any, *, format: str | Format | None = None, floor: float = 0.0
) -> Float64:
    """:math:`|actual - expected| / \\mathrm{ulp}(\\max(|expected|, floor))`, elementwise, in float64.

    Parameters
    ----------
    actual : numpy array or torch tensor
    expected : array_like
        The truth to far more digits than the format has (float64 or longdouble), not yet rounded.
    format : str or Format, optional
        Whose ulp; that of `actual` unless given.
    floor : float
        Smallest magnitude whose ulp is used: for results whose error is relative to something larger.

    Returns
    -------
    float64 array
        0 where both are NaN, or where the truth rounds to the infinity that is there; infinite where only
        one is NaN or infinite. At most 0.5 exactly where `actual` is correctly rounded.
    """
    operand = unwrap(actual, "actual")
    target = operand.format if format is None else get_format(format)
    got = operand.values.astype(np.float64)
    truth = np.broadcast_to(np.asarray(expected, dtype=np.float64), got.shape)
    with np.errstate(invalid="ignore", over="ignore"):
        rounded = round_float64(truth, target)
        same = (got == rounded) | (np.isnan(got) & np.isnan(truth))
        distance = np.abs(np.asarray(got - np.asarray(expected)).astype(np.float64))
        units = distance / ulp(np.maximum(np.abs(np.where(np.isfinite(truth), truth, 1.0)), floor), target)
    finite = np.isfinite(got) & np.isfinite(rounded)
    return np.asarray(np.where(finite, units, np.where(same, 0.0, np.inf)))


def misrounded(actual: Any, expected: Any, *, format: str | Format | None = None) -> Any:
    """Where `actual` is not the nearest number of the format to the truth (bool array).

    A truth within :math:`2^{-40}` relative of a tie may have been rounded either way.
    """
    operand = unwrap(actual, "actual")
    target = operand.format if format is None else get_format(format)
    got = operand.values.astype(np.float64)
    truth = np.broadcast_to(np.asarray(expected, dtype=np.float64), got.shape)
    wrong = np.ones(got.shape, dtype=bool)
    for near in (truth * (1 - ORACLE_ERROR), truth, truth * (1 + ORACLE_ERROR)):
        rounded = round_float64(near, target)
        wrong &= ~((got == rounded) | (np.isnan(got) & np.isnan(rounded)))
    return wrong


def assert_ulp(
    actual: Any,
    expected: Any,
    *,
    max_ulp: float = 0.5,
    format: str | Format | None = None,
    floor: float = 0.0,
) -> None:
    """Fail unless every element is within `max_ulp` of the truth; parameters as `error_ulp`.

    The oracle itself may be wrong by :math:`2^{-40}` relative: that much is allowed on top.

    Raises
    ------
    AssertionError
        Names the worst element, what it is and should be; also if the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> assert_ulp(np.float32(0.1), 0.1)
    """
    got, truth = unwrap(actual, "actual"), np.asarray(expected)
    if got.values.shape != truth.shape:
        raise AssertionError(f"shape {got.values.shape} where {truth.shape} is expected")
    if truth.size == 0:
        return
    target = got.format if format is None else get_format(format)
    errors = error_ulp(actual, expected, format=target, floor=floor)
    worst = np.unravel_index(int(np.argmax(errors)), errors.shape)
    # An ulp is at least eps/2 of the value, so the oracle's error is at most this many.
    if not errors[worst] <= max_ulp + 2 * ORACLE_ERROR / target.eps:
        raise AssertionError(
            f"{errors[worst]:.6g} ulp of {target.name} at {tuple(int(i) for i in worst)}, over {max_ulp:g}: "
            f"{float(got.values[worst])!r} where {float(truth[worst])!r} is expected"
        )
