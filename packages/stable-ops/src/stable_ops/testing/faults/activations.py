"""Wrong gelu, silu and swiglu."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stable_ops.testing.faults.registry import Array, fault, once, twice, wide


@fault("gelu", "the tanh approximation in place of erf")
def gelu_tanh_form(x: Array) -> Array:
    return once(_tanh_form(wide(x)), x)


@fault("gelu", "1 + erf in float32, which is zero in the tail")
def gelu_cancelled_tail(x: Array) -> Array:
    from scipy.special import erf

    cdf = (1 + erf(wide(x) / np.sqrt(2)).astype(np.float32)) * np.float32(0.5)
    return once(wide(x) * cdf, x)


@fault("silu", "the sigmoid is rounded to the dtype before the product")
def silu_two_roundings(x: Array) -> Array:
    return once(wide(x) * wide(once(1 / (1 + np.exp(-wide(x))), x)), x)


@fault("swiglu", "silu is rounded to the dtype before the product")
def swiglu_two_roundings(gate: Array, up: Array) -> Array:
    silu = once(wide(gate) / (1 + np.exp(-wide(gate))), gate)
    return once(wide(silu) * wide(up), gate)


@fault("swiglu", "gate and up are exchanged")
def swiglu_exchanged(gate: Array, up: Array) -> Array:
    return once(wide(up) / (1 + np.exp(-wide(up))) * wide(gate), gate)


def _tanh_form(x: NDArray[np.float64], cube: float = 0.044715) -> NDArray[np.float64]:
    twice_u = 2 * np.sqrt(2 / np.pi) * (x + cube * x**3)
    return np.asarray(np.where(np.isneginf(x), 0.0, x / (1 + np.exp(-twice_u))))


def _erf_form(x: Array) -> NDArray[np.float64]:
    from scipy.special import ndtr

    return np.asarray(np.where(np.isneginf(x), 0.0, wide(x) * ndtr(wide(x))))


def _silu(x: Array) -> NDArray[np.float64]:
    return np.asarray(wide(x) / (1 + np.exp(-wide(x))))


@fault("gelu", "x times the logistic function of 1.702 x")
def gelu_quick(x: Array) -> Array:
    return once(wide(x) / (1 + np.exp(-1.702 * wide(x))), x)


@fault("gelu", "rounded to float32 first, then to the dtype")
def gelu_double_rounding(x: Array) -> Array:
    return twice(_erf_form(x), x)


@fault("gelu", "below -6 the answer is zero")
def gelu_cut_off(x: Array) -> Array:
    return once(np.where(wide(x) < -6, 0.0, _erf_form(x)), x)


@fault("gelu_tanh", "the erf form in place of tanh")
def gelu_tanh_erf(x: Array) -> Array:
    return once(_erf_form(x), x)


@fault("gelu_tanh", "1 + tanh in float32, which is zero in the tail")
def gelu_tanh_cancelled_tail(x: Array) -> Array:
    narrow = x.astype(np.float32)
    inner = np.float32(np.sqrt(2 / np.pi)) * (narrow + np.float32(0.044715) * narrow**3)
    return once(np.float32(0.5) * narrow * (1 + np.tanh(inner)), x)


@fault("gelu_tanh", "0.0447 for 0.044715")
def gelu_tanh_short_constant(x: Array) -> Array:
    return once(_tanh_form(wide(x), 0.0447), x)


@fault("gelu_tanh", "the cube is taken in the dtype, which rounds it")
def gelu_tanh_narrow_cube(x: Array) -> Array:
    inner = wide(x) + 0.044715 * wide(x * x * x)
    return once(wide(x) / (1 + np.exp(-2 * np.sqrt(2 / np.pi) * inner)), x)


@fault("silu", "the logistic function of -x")
def silu_sign(x: Array) -> Array:
    return once(wide(x) / (1 + np.exp(wide(x))), x)


@fault("silu", "a straight line for the logistic function, as hard-swish has")
def silu_hard(x: Array) -> Array:
    return once(wide(x) * np.clip(wide(x) / 6 + 0.5, 0, 1), x)


@fault("silu", "exp in the dtype, which rounds it and overflows")
def silu_narrow_exp(x: Array) -> Array:
    return once(wide(x) / (1 + wide(np.exp(-x))), x)


_BUFFERS: dict[tuple[Any, ...], Array] = {}


@fault("silu", "one output buffer for every call of a shape")
def silu_stale(x: Array) -> Array:
    buffer = _BUFFERS.setdefault((x.shape, x.dtype.name), np.empty_like(x))
    buffer[...] = once(_silu(x), x)
    return buffer


@fault("swiglu", "the logistic function alone gates")
def swiglu_no_gate(gate: Array, up: Array) -> Array:
    return once(wide(up) / (1 + np.exp(-wide(gate))), gate)


@fault("swiglu", "gelu in place of silu")
def swiglu_gelu(gate: Array, up: Array) -> Array:
    return once(_erf_form(gate) * wide(up), gate)


@fault("swiglu", "rounded to float32 first, then to the dtype")
def swiglu_double_rounding(gate: Array, up: Array) -> Array:
    return twice(_silu(gate) * wide(up), gate)
