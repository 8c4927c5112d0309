"""What both methods are told of a layer's inputs, and the error that both make small."""

from __future__ import annotations

from typing import Any

import numpy as np

from mfi_command import BadInput
from quant_risk_analyzer.quantizers import checked

Array = np.ndarray[Any, Any]


def checked_pair(W: Any, moment: Any) -> tuple[Array, Array]:
    """The weight (out, in) and the inputs' second moment (in, in), float64; BadInput where they misfit."""
    weight = np.asarray(checked(np.asarray(W)), np.float64)
    H = np.asarray(moment, np.float64)
    if weight.ndim != 2 or H.shape != (weight.shape[1],) * 2:
        raise BadInput(f"weight {weight.shape} and second moment {H.shape}: expected (out, in) and (in, in)")
    slack = 1e-12 * max(float(np.abs(H).max(initial=0)), 1e-300)
    if not np.isfinite(H).all() or not np.allclose(H, H.T, rtol=1e-6, atol=slack):
        raise BadInput("the second moment must be finite and symmetric: X^T X / tokens")
    if (np.diag(H) < 0).any():
        raise BadInput("the second moment has a negative diagonal: expected X^T X / tokens")
    return weight, H


def output_error(W: Any, approximation: Any, moment: Any) -> float:
    r"""Mean square of the change of the layer's output: :math:`\operatorname{tr}(E H E^T)`."""
    E = np.asarray(W, np.float64) - np.asarray(approximation, np.float64)
    return float(np.einsum("ij,jk,ik->", E, np.asarray(moment, np.float64), E, optimize=True))
