"""The correctly rounded result of an operator, proven by ball arithmetic (python-flint).

A ball holds its true value between two ends. If both ends round to one number, that number is the answer; if
not, the ball is computed again with more digits. Meant for the few elements that longer arithmetic leaves
open: see `stable_ops.testing.verdict`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput, require
from stable_ops.fp.formats import Format, get_format

# Digits of the balls. A term below _TINY counts only by its sign, so the last is enough for every sum.
_BITS = (160, 640, 2560, 10_240)
_TINY_EXPONENT = -4096
# Every number of a 16-bit or 32-bit format is a whole multiple of 2^-149.
_SCALE = 149

Row = Sequence[float]
# What the row has to say of its element i, at the precision of the moment; None if that was not enough.
At = Callable[[int], Any]


def settle(
    op: str, arguments: Sequence[NDArray[Any]], places: NDArray[np.intp], format: str | Format
) -> NDArray[np.float64]:
    """The correctly rounded results of an operator at some places.

    Parameters
    ----------
    op : str
        A key of `stable_ops.testing.oracles.ORACLES`.
    arguments : sequence of arrays
        As the operator is called: batches (m, n), a weight and a bias (n,). Finite, or -inf where an
        exponential makes it zero.
    places : integer array, shape (k, ndim of the result)
        Where the result is finite.
    format : str or Format
        fp16, bf16 or fp32.

    Returns
    -------
    float64 array, shape (k,)
        Numbers of the format: :math:`RN(f(x))`, ties to even, by the format's rule of overflow.

    Raises
    ------
    BadInput
        python-flint is missing, or no operator has that name.
    ArithmeticError
        10,240 bits did not decide.
    """
    if op not in _FORMULAS:
        raise BadInput(f"no operator is named {op!r}: use one of {', '.join(_FORMULAS)}")
    target = get_format(format)
    with np.errstate(invalid="ignore"):
        wide = [np.asarray(a).astype(np.float64) for a in arguments]
    answers = np.empty(len(places))
    for key, members in _by_row(places, wide[0].ndim):
        # A weight or a bias is one row for all.
        row = [a[key] if a.ndim == wide[0].ndim else a for a in wide]
        answers[members] = _settle_row(op, row, places[members], target)
    return answers


def nearest_pair(op: str, x: float) -> tuple[float, float]:
    """A function of one number as the nearest float64 and the nearest to what is left, 106 bits or more.

    What is left is never smaller than 2^-600, so that its sign survives a product with any float32 number;
    a value below 2^-500 is answered as 2^-500 with its sign.
    """
    flint = require("flint", extra="testing", distribution="mfi-stable-ops")
    for bits in _BITS:
        with flint.ctx.workprec(bits):
            value = _BALLS[op](x)
            if abs(value) < _arb(2) ** -500:
                return (-(2.0**-500) if value < 0 else 2.0**-500), 0.0
            high = float(value.mid())
            rest = value - _arb(high)
            if rest.rel_accuracy_bits() > 60:
                low = float(rest.mid())
                return high, math.copysign(max(abs(low), 2.0**-600), 1.0 if rest > 0 else -1.0)
    raise ArithmeticError(f"{_BITS[-1]} bits do not tell {op}({x!r}) from a float64")


def _by_row(places: NDArray[np.intp], ndim: int) -> Iterator[tuple[tuple[int, ...], NDArray[np.intp]]]:
    """The leading indices of each row, and which of the places lie in it."""
    leading = places[:, : ndim - 1]
    keys, which = np.unique(leading, axis=0, return_inverse=True)
    for i, key in enumerate(keys):
        yield tuple(int(k) for k in key), np.flatnonzero(which.reshape(-1) == i)


def _settle_row(op: str, row: list[NDArray[np.float64]], places: NDArray[np.intp], format: Format) -> Any:
    flint = require("flint", extra="testing", distribution="mfi-stable-ops")
    # The result of a reduction has no index along the row.
    columns = [0] * len(places) if op == "logsumexp" else [int(c) for c in places[:, -1]]
    if op in _ELEMENTWISE:
        row, columns = [a[columns] for a in row], list(range(len(places)))
    answers: dict[int, float] = {}
    for bits in _BITS:
        with flint.ctx.workprec(bits):
            at = _FORMULAS[op](format, *row)
            for column in set(columns) - set(answers):
                ball = at(column)
                rounded = None if ball is None else round_ball(ball, format)
                if rounded is not None:
                    answers[column] = rounded
        if len(answers) == len(set(columns)):
            return [answers[column] for column in columns]
    raise ArithmeticError(f"{_BITS[-1]} bits do not decide {op} of {row}")


def round_ball(ball: Any, format: Format) -> float | None:
    """The number of the format to which every value of the ball rounds, or None if there are several."""
    low, high = (round_dyadic(*_parts(end), format) for end in (ball.lower(), ball.upper()))
    # -0 and 0 are two numbers here: the sign is that of the true value.
    same = low == high and math.copysign(1, low) == math.copysign(1, high)
    return low if same else None


def _parts(end: Any) -> tuple[int, int]:
    mantissa, exponent = end.man_exp()
    return int(mantissa), int(exponent)


def round_dyadic(mantissa: int, exponent: int, format: Format) -> float:
    """mantissa * 2^exponent rounded to nearest, ties to even, in integers.

    Examples
    --------
    >>> round_dyadic(2**70 + 2**59 + 1, -70, get_format("fp16")) == 1 + 2**-10
    True
    """
    magnitude, sign = abs(mantissa), -1.0 if mantissa < 0 else 1.0
    top = magnitude.bit_length() + exponent - 1
    unit = max(top, format.min_exponent) - format.mantissa_bits
    if magnitude == 0 or top < unit - 1:
        return 0.0 * sign
    if top > math.frexp(format.max)[1]:
        return format.overflow_to * sign
    drop = unit - exponent
    if drop <= 0:
        units = magnitude << -drop
    else:
        units, rest = magnitude >> drop, magnitude & ((1 << drop) - 1)
        half = 1 << (drop - 1)
        units += rest > half or (rest == half and units % 2 == 1)
    value = math.ldexp(units, unit)
    return sign * (value if value <= format.max else format.overflow_to)


def _arb(value: Any) -> Any:
    flint = require("flint", extra="testing", distribution="mfi-stable-ops")
    return flint.arb(value)


def _tiny() -> Any:
    """Stands for every positive number up to it: next to a multiple of 2^-2000 all of them round alike."""
    return _arb(2) ** _TINY_EXPONENT


def _positive(ball: Any) -> Any:
    """The ball of a positive number, or `_tiny` in its place."""
    return _tiny() if ball.upper() < _tiny() else ball


def _softmax(_: Format, x: Row) -> At:
    terms, _peak = _terms(x)
    total = sum(terms, _arb(0))
    return lambda i: terms[i] / total


def _log_softmax(_: Format, x: Row) -> At:
    logarithm, peak = _log_of_rest(x)
    return lambda i: (_arb(float(x[i])) - peak) - logarithm


def _logsumexp(_: Format, x: Row) -> At:
    logarithm, peak = _log_of_rest(x)
    return lambda _i: peak + logarithm


def _terms(x: Row) -> tuple[list[Any], Any]:
    peak = _arb(float(max(x)))
    return [_arb(0) if v == -math.inf else (_arb(float(v)) - peak).exp() for v in x], peak


def _log_of_rest(x: Row) -> tuple[Any, Any]:
    """log of the sum of exp(x - peak), from the terms but one of the largest; and the peak."""
    terms, peak = _terms(x)
    terms.pop(int(np.argmax(x)))
    rest = sum(terms, _arb(0))
    return (rest if rest == 0 else _positive(rest.log1p())), peak


def _whole(x: Row) -> list[int]:
    return [int(v) for v in np.ldexp(np.asarray(x, dtype=np.float64), _SCALE)]


def _layer_norm(_: Format, x: Row, weight: Row, bias: Row) -> At:
    n, whole = len(x), _whole(x)
    total = sum(whole)
    centred = [n * v - total for v in whole]  # exact, n 2^149 too large
    squares = _arb(sum(c * c for c in centred)) / _arb(n) ** 3 * _arb(2) ** (-2 * _SCALE)
    root = (squares + _arb(1e-5)).sqrt()

    def at(i: int) -> Any:
        ratio = _arb(centred[i]) / n * _arb(2) ** -_SCALE / root
        return ratio * _arb(float(weight[i])) + _arb(float(bias[i]))

    return at


def _over_root_mean_square(x: Row) -> At:
    squares = _arb(sum(v * v for v in _whole(x))) / len(x) * _arb(2) ** (-2 * _SCALE)
    root = (squares + _arb(1e-6)).sqrt()
    return lambda i: _arb(float(x[i])) / root


def _rms_norm(_: Format, x: Row, weight: Row) -> At:
    ratio = _over_root_mean_square(x)
    return lambda i: ratio(i) * _arb(float(weight[i]))


def _rms_norm_gemma(_: Format, x: Row, weight: Row) -> At:
    ratio = _over_root_mean_square(x)
    return lambda i: ratio(i) * (1 + _arb(float(weight[i])))


def _rms_norm_hf(format: Format, x: Row, weight: Row) -> At:
    ratio = _over_root_mean_square(x)

    def at(i: int) -> Any:
        first = round_ball(ratio(i), format)
        return None if first is None else _arb(first) * _arb(float(weight[i]))

    return at


def _gelu_ball(x: float) -> Any:
    """x (1 - Q(x)) above zero, x Q(-x) below; Q is far below 2^-4096 from 128 on."""
    v = _arb(abs(x))
    upper_tail = _tiny() if abs(x) > 128 else (v / _arb(2).sqrt()).erfc() / 2
    return v - v * upper_tail if x > 0 else -v * upper_tail


def _gelu_tanh_ball(x: float) -> Any:
    v = _arb(abs(x))
    flint = require("flint", extra="testing", distribution="mfi-stable-ops")
    cube = _arb(flint.fmpq(44715, 1_000_000))
    exponent = 2 * (2 / flint.arb.pi()).sqrt() * (v + cube * v * v * v)
    return _gated(x, exponent)


def _silu_ball(x: float) -> Any:
    return _gated(x, _arb(abs(x)))


def _gated(x: float, exponent: Any) -> Any:
    """|x| / (1 + exp(exponent)) on its side: x less it above zero, minus it below."""
    v = _arb(abs(x))
    share = _tiny() if exponent > -_TINY_EXPONENT else _positive(1 / (1 + exponent.exp()))
    return v - v * share if x > 0 else -v * share


def _each(ball: Callable[[float], Any], _: Format, x: Row) -> At:
    return lambda i: ball(float(x[i]))


def _swiglu(_: Format, gate: Row, up: Row) -> At:
    return lambda i: _silu_ball(float(gate[i])) * _arb(float(up[i]))


_BALLS: dict[str, Callable[[float], Any]] = {
    "gelu": _gelu_ball,
    "gelu_tanh": _gelu_tanh_ball,
    "silu": _silu_ball,
}
_ELEMENTWISE: dict[str, Callable[..., At]] = {
    **{op: functools.partial(_each, ball) for op, ball in _BALLS.items()},
    "swiglu": _swiglu,
}
_FORMULAS: dict[str, Callable[..., At]] = {
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "logsumexp": _logsumexp,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "rms_norm_hf": _rms_norm_hf,
    "rms_norm_gemma": _rms_norm_gemma,
    **_ELEMENTWISE,
}
