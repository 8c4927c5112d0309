"""The correctly rounded results of an operator, each of them certain."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stable_ops.arrays import Float64
from stable_ops.fp.formats import Format, get_format
from stable_ops.fp.rounding import round_float64
from stable_ops.testing.exact import settle
from stable_ops.testing.oracles import Long, enclose


@dataclass(frozen=True)
class Rounded:
    """The answer to which any other is compared.

    Attributes
    ----------
    truth : longdouble array
        Before the rounding.
    values : float64 array
        :math:`RN(f(x))`, ties to even.
    near : int
        Elements within :math:`2^{-40}` of a tie, which longer arithmetic leaves open.
    open : bool array
        Those of them that nothing settled, as python-flint is missing: all False where it is installed.
    """

    truth: Long
    values: Float64
    near: int
    open: NDArray[np.bool_]

    def wrong(self, actual: NDArray[Any]) -> NDArray[np.bool_]:
        """Where `actual` is another number (the sign of a zero is not judged, any NaN is NaN)."""
        got = np.asarray(actual).astype(np.float64)
        same = (got == self.values) | (np.isnan(got) & np.isnan(self.values))
        return np.asarray(~(same | self.open))


def correctly_rounded(op: str, *arguments: Any, format: str | Format | None = None) -> Rounded:
    """Longer arithmetic for every element, ball arithmetic for those near a tie.

    Parameters
    ----------
    op : str
        A key of `stable_ops.testing.oracles.ORACLES`.
    arguments : numpy arrays
        As the operator is called; a batch (m, n), one row (n,), or any shape for a function of elements.
    format : str or Format, optional
        fp16, bf16 or fp32; that of the first argument unless given.

    Examples
    --------
    >>> rounded = correctly_rounded("gelu", np.array([2.0**-24], dtype=np.float16))
    >>> rounded.values[0] == 2.0**-24  # half of it is a tie, and the truth lies above
    np.True_
    """
    target = get_format(np.asarray(arguments[0]).dtype.name if format is None else format)
    exact, low, high = enclose(op, *arguments)
    values, below, above = (
        round_float64(np.asarray(v, dtype=np.float64), target) for v in (exact, low, high)
    )
    near = (below != above) & np.isfinite(exact)
    places = np.argwhere(near)
    if len(places) and importlib.util.find_spec("flint") is not None:
        values[near] = settle(op, [np.asarray(a) for a in arguments], places, target)
        return Rounded(exact, values, len(places), np.zeros_like(near))
    return Rounded(exact, values, len(places), near)
