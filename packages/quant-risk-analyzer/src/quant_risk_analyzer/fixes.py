"""What to do about a layer that a format hurts: the cheapest change that makes it safe, with its risk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from quant_risk_analyzer.formats import Granularity, NumberFormat, block_length, format_named
from quant_risk_analyzer.quantizers import rounded
from quant_risk_analyzer.smoothing import smoothing_factors

if TYPE_CHECKING:
    import torch

GROUPS = (128, 32)
READS_A_NORM = {"q", "k", "v", "gate", "up"}  # what comes before these can take a channel's factor
SKIP = "skip: leave it in 16 bits"
NONE = "none needed"


@dataclass(frozen=True)
class Fix:
    """What to do, and the risk that is left by it, nats per token."""

    text: str
    risk: float


def fix_for(
    weight: torch.Tensor,
    kind: NumberFormat,
    granularity: Granularity,
    *,
    role: str,
    inputs: np.ndarray[Any, Any],
    risk: float,
    grade: Callable[[float], str],
) -> Fix:
    r"""The first of smoothing, finer scales and 8 bits after which the layer is graded A.

    Where none of them reaches A, the one with the best grade above the present one; else to skip the layer.

    Parameters
    ----------
    weight
        float32 (out, in), on the CPU.
    kind, granularity
        The format that was rated.
    role
        Of the layer: smoothing needs a normalization before it.
    inputs
        Mean square of each input channel, (in,).
    risk
        Of the layer in the rated format, nats per token.
    grade
        From a risk to a grade.

    Notes
    -----
    The risk after a change is the rated one times :math:`\sum E'^2_{ij} x_j^2 / \sum E^2_{ij} x_j^2`, with
    the rounding errors :math:`E` before and :math:`E'` after, and :math:`x_j^2` the mean square of an input:
    what an error costs at an output is taken to stay the same. One rounding of the weight for each change.
    """
    present = grade(risk)
    if present == "A":
        return Fix(NONE, risk)
    before = _energy(rounded(weight, kind, granularity) - weight, inputs)
    best: Fix | None = None
    for text, error in _changes(weight, kind, granularity, role, inputs):
        found = Fix(text, risk * _energy(error, inputs) / before if before else 0.0)
        reached = grade(found.risk)
        if reached == "A":
            return found
        if reached < (grade(best.risk) if best else present):
            best = found
    return best or Fix(SKIP, 0.0)


def _changes(
    weight: torch.Tensor,
    kind: NumberFormat,
    granularity: Granularity,
    role: str,
    inputs: np.ndarray[Any, Any],
) -> Iterator[tuple[str, torch.Tensor]]:
    """Changes and the errors that they leave, the cheapest to run first."""
    import torch

    if role in READS_A_NORM and (inputs > 0).all():
        factors = smoothing_factors([weight.numpy()], np.sqrt(inputs))
        scale = torch.as_tensor(np.asarray(factors), dtype=weight.dtype)
        yield (
            "smoothing into the normalization before it",
            rounded(weight * scale, kind, granularity) / scale - weight,
        )
    if kind.block is None:
        length = weight.numel() if granularity == "tensor" else block_length(granularity, weight.shape[1])
        for group in GROUPS:
            if group < min(length, weight.shape[1]):
                yield f"one scale for {group} inputs", rounded(weight, kind, group) - weight
    if kind.bits < 8:
        wide = format_named("int8")
        yield "8 bits", rounded(weight, wide, "channel") - weight


def _energy(error: torch.Tensor, inputs: np.ndarray[Any, Any]) -> float:
    by_input = (error.double() ** 2).sum(0).numpy()
    return float(by_input @ inputs)
