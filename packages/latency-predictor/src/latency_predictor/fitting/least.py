"""Robust least squares of log(formula / measured), the error that counts alike for short and long times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from latency_predictor.timing import Decode, Exchange, Gemm, Hardware, Prefill, Vector

Floats = NDArray[np.float64]
Made = TypeVar("Made", Gemm, Prefill, Decode, Vector, Exchange)

# (least, start, most) of each coefficient; seconds in microseconds, since a solver wants numbers near one.
BOUNDS: dict[type, dict[str, tuple[float, float, float]]] = {
    Gemm: {
        "compute": (0.1, 0.8, 1.2),
        "smaller_tile": (0.5, 0.95, 1.2),
        "bandwidth": (0.1, 0.85, 1.2),
        "sharpness": (1.2, 4, 20),
        "launch_s": (0.2, 4, 40),
        "ramp": (0.0, 1.0, 40),
    },
    Prefill: {
        "compute": (0.02, 0.5, 1.0),
        "bandwidth": (0.05, 0.5, 1.2),
        "sharpness": (1, 2, 10),
        "launch_s": (0.2, 6, 60),
        "ramp": (0.0, 100, 4000),
    },
    Decode: {
        "bandwidth": (0.05, 0.7, 1.2),
        "sharpness": (1, 2, 10),
        "launch_s": (0.2, 8, 60),
        "idle_exponent": (0, 0.5, 1),
        "tail": (0, 0.4, 1),
        "head_s": (1e-4, 0.01, 1),
    },
    Vector: {
        "bandwidth": (0.02, 0.7, 1.5),
        "l2_ratio": (1.0, 1.5, 6.0),
        "launch_s": (0.1, 2, 100),
    },
    Exchange: {
        "latency_s": (0.5, 10, 500),
        "bandwidth_bytes_per_s": (1e-3, 0.1, 2),
    },
}
_SCALES = {"bandwidth_bytes_per_s": 1e12}
_SPREAD = 0.1  # residuals beyond this count less than their square: a kernel that fell off its path
_CPU_SLOWER = 1000.0


def fit_operator(
    kind: type[Made],
    formula: Callable[..., Floats],
    arguments: Sequence[Any],
    seconds: Floats,
    on: Hardware | None,
    *,
    fixed: dict[str, float] | None = None,
) -> Made:
    """Coefficients of `formula(*arguments, coefficients, on)` that meet `seconds` best.

    Parameters
    ----------
    kind
        Which coefficients.
    arguments
        Arrays, one entry a measurement.
    fixed
        Coefficients that the measurements do not decide.

    Returns
    -------
    The coefficients, within `BOUNDS`.
    """
    fixed = fixed or {}
    names = [field.name for field in fields(kind) if field.name not in fixed]
    scales = [_SCALES.get(name, 1e-6 if name.endswith("_s") else 1.0) for name in names]
    low, start, high = zip(*(BOUNDS[kind][name] for name in names), strict=True)

    def made(theta: Sequence[float]) -> Made:
        values = {name: float(v * s) for name, v, s in zip(names, theta, scales, strict=True)}
        return kind(**values, **fixed)

    def errors(theta: Floats) -> Floats:
        tail = () if on is None else (on,)
        return np.asarray(np.log(formula(*arguments, made(list(theta)), *tail) / seconds))

    found = least_squares(
        errors, start, bounds=(low, high), loss="soft_l1", f_scale=_SPREAD, x_scale=np.maximum(start, 0.1)
    )
    return made(list(found.x))
