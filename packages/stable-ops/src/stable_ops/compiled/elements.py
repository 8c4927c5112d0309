"""Elements in compiled loops: flat arrays of float32 numbers or 16-bit codes, and room for results."""

# mypy: disable-error-code="untyped-decorator, no-untyped-call"

from __future__ import annotations

from typing import Any

import numpy as np

from stable_ops.compiled.bits import loop
from stable_ops.compiled.formats import rounded, spare_numbers, stored, target, widened
from stable_ops.compiled.loops import exponential
from stable_ops.compiled.tail import tail

# As in `stable_ops.ops.activations`: what float64 cannot tell from 1/2 or 1 stays on its own side of it.
_STEP, _TINY = 2.0**-50, 2.0**-48
# Codes are widened so many at a time, which stay in the first cache.
_PIECE = 1024


@loop
def _off_ties(share: Any, x: Any) -> Any:
    share = 1.0 - _STEP if share > 1.0 - _STEP else share
    return 0.5 + np.copysign(0.5 * _STEP, x) if abs(x) < _TINY else share


@loop
def _logistic(t: Any, x: Any) -> Any:
    """The share 1 / (1 + exp(-t)) of x, off the ties of x times it; not zero where t is finite."""
    w = exponential(-abs(t))
    return _off_ties((w if t < 0.0 else 1.0) / (1.0 + w), x)


@loop
def _silu(x: Any) -> Any:
    """Before its rounding; of a finite x below -700 as at -700, which no format tells from zero."""
    x = -700.0 if x < -700.0 else x
    return x * _logistic(x, x)


@loop
def silu(x: Any, out: Any, kind: Any) -> None:
    """x / (1 + exp(-x))."""
    for j in range(len(x)):
        out[j] = rounded(_silu(np.float64(x[j])), out, kind)


@loop
def gelu(x: Any, out: Any, kind: Any) -> None:
    """x times the normal distribution function."""
    for j in range(len(x)):
        y = max(np.float64(x[j]), -2000.0)
        t = tail(abs(y))
        out[j] = rounded(y * _off_ties(t if y < 0.0 else 1.0 - t, y), out, kind)


@loop
def gelu_tanh(x: Any, out: Any, kind: Any) -> None:
    """x / (1 + exp(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    for j in range(len(x)):
        y = max(np.float64(x[j]), -2000.0)
        t = (y * y * 0.044715 * y + y) * 1.5957691216057308
        out[j] = rounded(y * _logistic(t, y), out, kind)


@loop
def swiglu(gate: Any, up: Any, out: Any, kind: Any) -> None:
    """silu(gate) up; silu of minus infinity is zero."""
    first, second, found = (
        spare_numbers(gate, _PIECE),
        spare_numbers(up, _PIECE),
        spare_numbers(out, _PIECE),
    )
    for start in range(0, len(gate), _PIECE):
        place = out[start : min(start + _PIECE, len(gate))]
        n = len(place)
        a = widened(gate[start : start + n], first[:n], kind)
        b = widened(up[start : start + n], second[:n], kind)
        y = target(place, found[:n])
        for j in range(n):
            s = _silu(np.float64(a[j]))
            s = -0.0 if a[j] == -np.inf else s
            y[j] = rounded(s * np.float64(b[j]), place, kind)
        stored(y, place, kind)
