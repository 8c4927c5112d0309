"""AWQ: input channels that carry much are scaled up before the rounding and down after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mfi_command import BadInput
from quant_risk_analyzer.compensation.inputs import checked_pair, output_error
from quant_risk_analyzer.formats import Granularity, NumberFormat, format_named
from quant_risk_analyzer.quantizers import rounded

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Scaled:
    """Answer of `awq`.

    Attributes
    ----------
    dequantized
        Weight (out, in), float64, in its own scale again.
    factors
        What each input channel was multiplied with before the rounding (in,); 1 where `exponent` is 0.
    exponent
        The one with the least error.
    error, plain_error
        `output_error` with it, and of rounding to nearest.
    """

    dequantized: Array
    factors: Array
    exponent: float
    error: float
    plain_error: float


def awq(
    W: Any,
    moment: Any,
    format: str | NumberFormat,
    *,
    granularity: Granularity = "channel",
    points: int = 20,
) -> Scaled:
    r"""Round a weight with its input channels scaled by a power of the inputs' size.

    .. math:: \hat W = Q(W\,\mathrm{diag}(f))\,\mathrm{diag}(f)^{-1}, \qquad f_j \propto H_{jj}^{a/2},

    with the exponent a of `points` in [0, 1) that makes the output change least. a = 0 is rounding to
    nearest: the answer is never worse.

    Parameters
    ----------
    W, moment, format, granularity
        As for `gptq`; here any format.
    points
        Exponents to try.

    Raises
    ------
    BadInput
        As `quantize`, a moment that does not fit, fewer than one point.

    Notes
    -----
    The division by the factors belongs into what produces the input, as in `migrate`. Cost O(points out
    in^2). Source: Lin et al., "AWQ", MLSys 2024, section 3.2.
    """
    kind = format_named(format) if isinstance(format, str) else format
    weight, H = checked_pair(W, moment)
    if points < 1:
        raise BadInput(f"points={points}: expected at least 1")
    sizes = np.sqrt(np.diag(H))
    used = sizes > 0
    best: Scaled | None = None
    for exponent in np.arange(points) / points:
        factors = np.ones_like(sizes)
        factors[used] = sizes[used] ** exponent
        # The size of all factors together changes nothing but the range of the numbers.
        factors /= np.sqrt(factors.max() * factors.min())
        values = np.asarray(rounded(weight * factors, kind, granularity), np.float64) / factors
        error = output_error(weight, values, H)
        if best is None or error < best.error:
            plain = error if best is None else best.plain_error
            best = Scaled(values, factors, float(exponent), error, plain)
    assert best is not None
    return best
