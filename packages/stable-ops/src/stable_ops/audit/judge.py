"""Whether a tensor or an operation survives a format: rules on sampled values.

A rule answers a Loss or None. The shares and the half of the digits below are where a loss starts to count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from stable_ops.audit.report import Kind
from stable_ops.audit.sample import Array
from stable_ops.fp.formats import FP8_E4M3FN, Format
from stable_ops.fp.rounding import round_scalar

DTYPES = {
    "fp8_e4m3fn": torch.float8_e4m3fn,
    "fp8_e5m2": torch.float8_e5m2,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}
_LAST_E4M3FN = 464.0
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


def rounded(x: Array, format: Format) -> Array:
    """Values rounded to float32 and then once to the format, in float32."""
    narrow = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)).to(DTYPES[format.name])
    stored: Array = narrow.to(torch.float32).numpy()
    if format == FP8_E4M3FN:
        # Some versions of torch saturate; half a unit above the largest number the format has its NaN.
        stored[np.abs(x) > _LAST_E4M3FN] = np.nan
    return stored


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


def underflow(magnitudes: Array, format: Format) -> Loss | None:
    """Nonzero values `(n,)` that become zero or subnormal; digits lost on average over all of them."""
    count = magnitudes.size
    if np.count_nonzero(magnitudes < format.min_normal) < ZERO_SHARE * max(1, count):
        return None
    stored = rounded(magnitudes, format)
    small = int(np.count_nonzero(stored < format.min_normal)) / count
    if np.count_nonzero(stored == 0) < ZERO_SHARE * count and small < SUBNORMAL_SHARE:
        return None
    lost = np.clip(math.log2(format.min_normal) - np.log2(magnitudes), 0, precision(format))
    return Loss("underflow", float(lost.mean()), small)


def may_absorb(a: Array, b: Array, format: Format) -> bool:
    """Whether b of `(n,)` magnitudes before rounding could vanish beside a in a share that counts; quick."""
    unit, least = format.eps / 2, format.min_subnormal
    # Half an ulp of a is at most the unit roundoff times a; both have been rounded.
    small = (b <= 1.02 * unit * a + least) & (b >= least / 2)
    count = int(np.count_nonzero(small))
    return count > 0 and count >= ABSORBED_SHARE * int(np.count_nonzero(b > least))


def may_cancel(exact: Array, size: Array, format: Format) -> bool:
    """Whether rounding operands of `(n,)` summed magnitudes could cost results half their digits; quick."""
    half = 2.0 ** (-precision(format) / 2)
    lost = half * np.abs(exact) <= 1.01 * format.eps / 2 * size + format.min_subnormal
    # Results that overflow are left out of the share by the judgement.
    used = (exact != 0) & (size <= format.max)
    return int(np.count_nonzero(lost)) >= CANCELLED_SHARE * int(np.count_nonzero(used))


def absorption(a: Array, b: Array, total: Array, format: Format) -> Loss | None:
    """Additions of stored `(n,)` pairs whose smaller operand b leaves a as it was in their stored total."""
    nonzero = b != 0
    count = int(np.count_nonzero(nonzero))
    absorbed = nonzero & (total == a) & (np.abs(a) > np.abs(b)) & np.isfinite(a)
    share = int(np.count_nonzero(absorbed)) / max(1, count)
    if count == 0 or share < ABSORBED_SHARE:
        return None
    return Loss("absorption", float(precision(format)), share)


def cancellation(exact: Array, computed: Array, format: Format) -> Loss | None:
    """Results `(n,)` whose stored operands left less than half of the digits."""
    used = (exact != 0) & np.isfinite(exact) & np.isfinite(computed)
    count = int(np.count_nonzero(used))
    error = np.abs(computed - exact)
    half = 2.0 ** (-precision(format) / 2)
    bad = used & (error >= half * np.abs(exact))
    share = int(np.count_nonzero(bad)) / max(1, count)
    if share < CANCELLED_SHARE:
        return None
    lost = np.log2(error[bad] / np.abs(exact[bad])) + precision(format)
    return Loss("cancellation", float(np.median(np.clip(lost, 0, precision(format)))), share)


def row_cancellation(exact: Array, computed: Array, format: Format) -> Loss | None:
    """`cancellation` of rows `(m, n)`, each judged by the norm of its error."""
    norm = np.sqrt(np.einsum("ij,ij->i", exact, exact))
    difference = computed - exact
    return cancellation(norm, norm + np.sqrt(np.einsum("ij,ij->i", difference, difference)), format)


def accumulation(terms: Array, format: Format) -> list[Loss]:
    """Sequential sums of rows `(m, n)` with a running sum of the format: overflow and absorption."""
    partial = np.cumsum(terms, axis=-1)
    found = [overflow(float(np.abs(partial).max()), format)]
    # Compared with the running sum before it; the last half, where a sum has its size.
    half = terms.shape[-1] // 2
    before = rounded(partial[:, half:-1].reshape(-1), format)
    added = rounded(terms[:, half + 1 :].reshape(-1), format)
    found.append(absorption(before, added, rounded(before + added, format), format))
    return [loss for loss in found if loss is not None]
