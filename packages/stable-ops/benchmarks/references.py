"""What operators are compared with: transformers' forms of rms_norm, and gelu by ball arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stable_ops.fp.rounding import round_float64
from stable_ops.testing.oracles import truth

Long = NDArray[np.longdouble]


def torch_hf(x: Any, weight: Any) -> Any:
    """LlamaRMSNorm.forward of transformers."""
    wide = x.to(torch.float32)
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
    return weight * wide.to(x.dtype)


def torch_gemma(x: Any, weight: Any) -> Any:
    """GemmaRMSNorm.forward of transformers."""
    wide = x.float()
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
    return (wide * (1.0 + weight.float())).type_as(x)


def exact_hf(x: Long, weight: Long, format: Any) -> Long:
    inner = truth("rms_norm", x, np.ones(x.shape[-1]))
    return round_float64(inner.astype(np.float64), format).astype(np.longdouble) * weight


def exact_gelu(x: Long) -> Long:
    """By ball arithmetic of 160 bits, each distinct number once."""
    import flint

    def one(v: float) -> np.longdouble:
        if np.isinf(v):
            return np.longdouble(0.0 if v < 0 else v)
        with flint.ctx.workprec(160):
            t = flint.arb(v)
            value = t / 2 * (-t / flint.arb(2).sqrt()).erfc()
            high = float(value.mid())
            return np.longdouble(high) + np.longdouble(float((value - flint.arb(high)).mid()))

    return _each(one, x)


def exact_gelu_tanh(x: Long) -> Long:
    import flint

    def one(v: float) -> np.longdouble:
        with flint.ctx.workprec(160):
            t = flint.arb(v)
            u = (flint.arb(2) / flint.arb.pi()).sqrt() * (t + flint.arb("0.044715") * t * t * t)
            value = t / (1 + (-2 * u).exp())
            high = float(value.mid())
            rest = value - flint.arb(high)
            return np.longdouble(high) + np.longdouble(float(rest.mid()) if rest.is_finite() else 0.0)

    return _each(one, x)


def _each(one: Callable[[float], np.longdouble], x: Long) -> Long:
    values, places = np.unique(x.astype(np.float64), return_inverse=True)
    found = np.array([one(float(v)) for v in values], dtype=np.longdouble)
    return np.asarray(found[places.reshape(x.shape)])
