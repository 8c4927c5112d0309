"""Whether a tensor or an operation survives a format: rules on sampled values, in torch.

A rule answers a Loss or None. The shares and the half of the digits below are where a loss starts to count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from stable_ops.audit.report import Kind
from stable_ops.fp.formats import Format
from stable_ops.fp.rounding import round_scalar

DTYPES = {
    "fp8_e4m3fn": torch.float8_e4m3fn,
    "fp8_e5m2": torch.float8_e5m2,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}
ZERO_SHARE = 0.1
SUBNORMAL_SHARE = 0.5
ABSORBED_SHARE = 0.25
CANCELLED_SHARE = 1 / 3


@dataclass(frozen=True)
class Loss:
    """A rule's finding, before it is known where and for whom."""

    kind: Kind
    bits: float
    share: float


def rounded(x: torch.Tensor, format: Format) -> torch.Tensor:
    """Float32 values rounded once to the format."""
    return x.to(DTYPES[format.name]).to(torch.float32)


def precision(format: Format) -> int:
    """Significant bits, the implicit one included."""
    return format.mantissa_bits + 1


def overflows(largest: float, format: Format) -> bool:
    """Whether a magnitude rounds to no finite number of the format."""
    return largest > format.max and not math.isfinite(round_scalar(largest, format))


def overflow(largest: float, format: Format) -> Loss | None:
    """All digits of the largest value are lost."""
    if not overflows(largest, format):
        return None
    return Loss("overflow", float(precision(format)), largest / format.max)


def underflow(magnitudes: torch.Tensor, format: Format) -> Loss | None:
    """Nonzero values `(n,)` that become zero or subnormal; digits lost on average over all of them."""
    if magnitudes.numel() == 0 or float(magnitudes.min()) >= format.min_normal:
        return None
    stored = rounded(magnitudes, format)
    small = float((stored < format.min_normal).float().mean())
    if float((stored == 0).float().mean()) < ZERO_SHARE and small < SUBNORMAL_SHARE:
        return None
    lost = (math.log2(format.min_normal) - magnitudes.log2()).clamp(0, precision(format))
    return Loss("underflow", float(lost.mean()), small)


def absorption(a: torch.Tensor, b: torch.Tensor, format: Format) -> Loss | None:
    """Additions `a + b` of `(n,)` pairs whose smaller operand b leaves the stored a as it was."""
    a, b = rounded(a, format), rounded(b, format)
    there = (b != 0) & (a.abs() > b.abs()) & a.isfinite()
    total = rounded(a + b, format)
    absorbed = there & (total == a)
    count = int((b != 0).sum())
    share = int(absorbed.sum()) / max(1, count)
    if count == 0 or share < ABSORBED_SHARE:
        return None
    return Loss("absorption", float(precision(format)), share)


def cancellation(exact: torch.Tensor, computed: torch.Tensor, format: Format) -> Loss | None:
    """Results `(n,)` whose stored operands left less than half of the digits."""
    used = (exact != 0) & exact.isfinite() & computed.isfinite()
    if not bool(used.any()):
        return None
    error = ((computed - exact).abs() / exact.abs())[used]
    lost = (error.clamp_min(1e-30).log2() + precision(format)).clamp(0, precision(format))
    bad = lost >= precision(format) / 2
    share = float(bad.float().mean())
    if share < CANCELLED_SHARE:
        return None
    return Loss("cancellation", float(lost[bad].median()), share)


def row_cancellation(exact: torch.Tensor, computed: torch.Tensor, format: Format) -> Loss | None:
    """`cancellation` of rows `(m, n)`, each judged by the norm of its error."""
    norm = exact.norm(dim=-1)
    return cancellation(norm, norm + (computed - exact).norm(dim=-1), format)


def accumulation(terms: torch.Tensor, format: Format) -> list[Loss]:
    """Sequential sums of rows `(m, n)` with a running sum of the format: overflow and absorption."""
    partial = terms.double().cumsum(dim=-1)
    found = [overflow(float(partial.abs().max()), format)]
    # Compared with the running sum before it; the last half, where a sum has its size.
    half = terms.shape[-1] // 2
    before = partial[:, half:-1].float().reshape(-1)
    found.append(absorption(before, terms[:, half + 1 :].float().reshape(-1), format))
    return [loss for loss in found if loss is not None]
