"""What the operators should answer, in torch's float64 on the inputs' device, with a bound on the error.

Written apart from the kernels and from the CPU forms: plain formulas, the mean of a row taken out twice. An
element whose truth lies within the bound of a tie is left open here; balls settle it (`exhaustive.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

# Relative, and as a share of the terms that may have cancelled: far above what float64 loses in any of these.
NEAR = 2.0**-40
CANCELLED = 2.0**-46
EPS_LAYER, EPS_RMS = 1e-5, 1e-6


@dataclass(frozen=True)
class Width:
    """Mantissa bits and the exponent of the smallest normal number."""

    mantissa: int
    exponent: int
    largest: float


WIDTHS = {
    torch.float16: Width(10, -14, 65504.0),
    torch.bfloat16: Width(7, -126, float(torch.finfo(torch.bfloat16).max)),
    torch.float32: Width(23, -126, float(torch.finfo(torch.float32).max)),
}


@dataclass(frozen=True)
class Truth:
    """`value` in float64, at most `error` from the exact one."""

    value: Any
    error: Any


def unit(z: Any, dtype: Any) -> Any:
    """The distance of the numbers of the format around z (float64)."""
    width = WIDTHS[dtype]
    exponent = ((z.view(torch.int64) >> 52) & 0x7FF).clamp_(min=width.exponent + 1023, max=2046)
    return ((exponent - width.mantissa) << 52).view(torch.float64)


def nearest(z: Any, dtype: Any) -> Any:
    """float64 rounded to the format, to nearest with ties to even, still in float64."""
    q = unit(z, dtype)
    rounded = torch.round(z / q) * q
    beyond = rounded.abs() > WIDTHS[dtype].largest
    return torch.where(beyond, torch.copysign(torch.full_like(z, math.inf), z), rounded)


def near_tie(truth: Truth, dtype: Any) -> Any:
    """Where the exact value may lie on either side of a tie."""
    low, high = truth.value - truth.error, truth.value + truth.error
    return (nearest(low, dtype) != nearest(high, dtype)) & truth.value.isfinite()


def differs(y: Any, expected: Any) -> Any:
    """Where y is another number than `expected`; NaN is NaN, and the sign of a zero is not judged."""
    wide = y.double()
    return ~((wide == expected) | (wide.isnan() & expected.isnan()))


def ulp_error(y: Any, truth: Truth, dtype: Any) -> Any:
    """|y - truth| in units of the format; infinite for a wrong infinity or NaN, 0 for a right one."""
    units = (y.double() - truth.value).abs() / unit(truth.value, dtype)
    expected = nearest(truth.value, dtype)
    special = ~(expected.isfinite() & y.isfinite())
    wrong = differs(y, expected)
    return torch.where(special, torch.where(wrong, math.inf, 0.0), units)


def softmax(x: Any) -> Truth:
    weights = _weights(x)[0]
    z = weights / weights.sum(-1, keepdim=True)
    return Truth(z, NEAR * z)


def log_softmax(x: Any) -> Truth:
    wide, peak, rest = _rest(x)
    shifted, logarithm = wide - peak, torch.log1p(rest)
    z = shifted - logarithm
    if x.shape[-1] == 1:
        return Truth(z, NEAR * z.abs())
    # x - max is often a tie of the format; the truth lies just below where the logarithm is small beside it.
    half_units = shifted / unit(shifted, x.dtype) * 2
    tie = (half_units == half_units.round()) & (logarithm < 2.0**-38 * shifted.abs())
    lost = (tie | (logarithm < 2.0**-60 * shifted.abs())) & shifted.isfinite()
    below = torch.nextafter(shifted, torch.full_like(shifted, -math.inf))
    return Truth(torch.where(lost, below, z), torch.where(lost, 0.0, NEAR * z.abs()))


def logsumexp(x: Any) -> Truth:
    _, peak, rest = _rest(x)
    z = (peak + torch.log1p(rest)).squeeze(-1)
    return Truth(z, NEAR * z.abs() + CANCELLED * peak.squeeze(-1).abs())


def _weights(x: Any) -> tuple[Any, Any, Any]:
    wide = x.double()
    peak = wide.amax(-1, keepdim=True)
    return torch.exp(wide - peak), wide, peak


def _rest(x: Any) -> tuple[Any, Any, Any]:
    """The row, its maximum, and the weights of all elements but one at the maximum."""
    weights, wide, peak = _weights(x)
    weights.scatter_(-1, wide.argmax(-1, keepdim=True), 0.0)
    return wide, peak, weights.sum(-1, keepdim=True)


def layer_norm(x: Any, weight: Any, bias: Any) -> Truth:
    wide = x.double()
    centred = wide - wide.mean(-1, keepdim=True)
    centred -= centred.mean(-1, keepdim=True)  # what the rounding of the mean left
    root = (centred.square().mean(-1, keepdim=True) + EPS_LAYER).sqrt_()
    w, b = weight.double(), bias.double()
    scaled = centred / root * w
    z = scaled + b
    return Truth(z, NEAR * z.abs() + CANCELLED * (scaled.abs() + b.abs() + w.abs()))


def rms_ratio(x: Any) -> Truth:
    wide = x.double()
    z = wide / (wide.square().mean(-1, keepdim=True) + EPS_RMS).sqrt_()
    return Truth(z, NEAR * z.abs())


def rms_norm(x: Any, weight: Any) -> Truth:
    z = rms_ratio(x).value * weight.double()
    return Truth(z, NEAR * z.abs())


def rms_norm_gemma(x: Any, weight: Any) -> Truth:
    z = rms_ratio(x).value * (1 + weight.double())
    return Truth(z, NEAR * z.abs())


def gelu(x: Any) -> Truth:
    wide = x.double()
    return _gated(wide, 0.5 * torch.special.erfc(-wide * math.sqrt(0.5)))


def gelu_tanh(x: Any) -> Truth:
    wide = x.double()
    return _gated(wide, torch.sigmoid(2 * math.sqrt(2 / math.pi) * (wide + 0.044715 * wide * wide * wide)))


def silu(x: Any) -> Truth:
    wide = x.double()
    return _gated(wide, torch.sigmoid(wide))


def _gated(x: Any, share: Any) -> Truth:
    z = torch.where(x == -math.inf, -0.0, x * share)
    # x/2 + c x^2: float64 answers x/2, often a tie of a subnormal result, where the truth lies just above.
    tiny = (x.abs() < 2.0**-52) & (x != 0)
    above = torch.nextafter(x / 2, torch.full_like(x, math.inf))
    return Truth(torch.where(tiny, above, z), torch.where(tiny, 0.0, NEAR * z.abs()))


ROWS: dict[str, Callable[..., Truth]] = {
    "softmax": softmax,
    "log_softmax": log_softmax,
    "logsumexp": logsumexp,
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "rms_norm_gemma": rms_norm_gemma,
}
UNARY: dict[str, Callable[..., Truth]] = {"gelu": gelu, "gelu_tanh": gelu_tanh, "silu": silu}
