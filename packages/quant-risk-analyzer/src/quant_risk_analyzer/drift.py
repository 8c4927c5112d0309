"""How far quantization moves the singular values of a weight: measured, and predicted without quantizing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from mfi_command import BadInput
from quant_risk_analyzer.formats import Granularity, NumberFormat, format_named, formats_named, to_blocks
from quant_risk_analyzer.grids import absmax_grid
from quant_risk_analyzer.quantizers import checked, quantize

LIVE = 1e-6  # of the largest value: below, a rank-deficient weight has only rounding
LIMIT = 0.10  # a layer whose singular values move more than this is flagged


def singular_values(W: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    r"""Singular values of a weight, largest first, from the eigenvalues of the smaller Gram matrix.

    Computed in float64: a value is wrong by about :math:`10^{-16} (\sigma_1/\sigma)^2`, relative, which is
    nothing over the top half of a spectrum and too much for the smallest. Cost O(min(m, n)^2 max(m, n)).
    """
    import torch

    # torch for either type: numpy's BLAS threads and torch's, both spinning, stall each other for seconds.
    A = torch.as_tensor(W).detach().double()
    A = A.reshape(len(A), -1)
    gram = A @ A.T if len(A) <= A.shape[1] else A.T @ A
    values: np.ndarray[Any, Any] = torch.linalg.eigvalsh(gram).clamp_(min=0).sqrt_().flip(0).numpy()
    return values


def relative_drift(before: Any, after: Any) -> float:
    """Largest relative change over the top half of the singular values; both largest first.

    The smallest values are left out: they lie under the noise of the rounding, where a relative change says
    nothing about the layer. 0 for a weight of zeros.
    """
    top = np.asarray(before)[: (len(before) + 1) // 2]
    moved = np.abs(np.asarray(after)[: len(top)] - top)
    # Rank-deficient weights have zeros in the top half.
    live = top > top[0] * LIVE
    return float((moved[live] / top[live]).max()) if live.any() else 0.0


def measured_drift(W: Any, quantized: Any, *, spectrum: Any | None = None) -> float:
    """`relative_drift` between a weight, whose `spectrum` may be known, and its quantized form."""
    return relative_drift(singular_values(W) if spectrum is None else spectrum, singular_values(quantized))


def predict_drift(
    W: Any,
    format: str | NumberFormat,
    *,
    granularity: Granularity = "channel",
    spectrum: Any | None = None,
) -> float:
    r"""Drift expected from the step of the quantizer alone; nothing is quantized.

    Rounding is taken for independent noise of variance :math:`t^2 = s^2/12`, averaged over the steps
    :math:`s` of the blocks. Noise of an m x n matrix lifts a singular value to

    .. math:: \sigma' = \sqrt{\sigma^2 + t^2 (m + n) + t^4 m n / \sigma^2}

    and scatters it around that by :math:`t`, the first-order term :math:`u^T E v`. The answer is the
    median of the largest relative change over the top half.

    Parameters
    ----------
    W
        Weight (out, in).
    format, granularity
        As for `quantize`.
    spectrum
        Singular values of `W`, when they are known already.

    Returns
    -------
    float
        Predicted `relative_drift`, a fraction: 0.1 is 10 %.

    Notes
    -----
    Holds for values above the noise, :math:`\sigma^4 > t^4 m n`; below, the value is taken as lifted to the
    edge of the noise. It predicts too much where the spectrum is dense, up to about twice the drift of a
    matrix of full rank at int3, because neighbouring values push each other back.

    Source: Benaych-Georges and Nadakuditi, "The singular values and vectors of low rank perturbations of
    large rectangular random matrices", J. Multivariate Analysis 2012, section 3.1.
    """
    kind = format_named(format) if isinstance(format, str) else format
    work = checked(W)
    rows, columns = work.shape[0], work.reshape(work.shape[0], -1).shape[1]
    steps = np.asarray(absmax_grid(to_blocks(work, granularity), kind, symmetric=True).scale, np.float64)
    t2 = float((steps**2).mean()) / 12
    before = singular_values(W) if spectrum is None else np.asarray(spectrum)
    top = before[: (len(before) + 1) // 2]
    top = top[top > top[0] * LIVE] if len(top) else top
    if not len(top):
        return 0.0
    squares = np.maximum(top**2, t2 * np.sqrt(rows * columns))
    lifted = np.sqrt(squares + t2 * (rows + columns) + t2**2 * rows * columns / squares)
    return _median_of_largest(lifted / top - 1, np.sqrt(t2) / top)


def _median_of_largest(means: np.ndarray[Any, Any], deviations: np.ndarray[Any, Any]) -> float:
    """Median of `max |means + deviations * normal|` for independent normals, by bisection."""
    low, high = 0.0, float((means + 8 * deviations).max())
    for _ in range(40):
        middle = (low + high) / 2
        inside = _normal((middle - means) / deviations) - _normal((-middle - means) / deviations)
        low, high = (low, middle) if inside.prod() > 0.5 else (middle, high)
    return high


def _normal(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Distribution function of the standard normal; numpy has none."""
    return np.array([0.5 * math.erfc(-each / math.sqrt(2)) for each in x])


@dataclass(frozen=True)
class LayerDrift:
    """Drift of one layer in one format, as fractions; `exceeds`: the measured one is over 10 %."""

    name: str
    format: str
    predicted: float
    measured: float
    exceeds: bool

    def to_dict(self) -> dict[str, object]:
        """As a plain dictionary."""
        return asdict(self)


def drifts(
    model: str | Path,
    *,
    formats: Sequence[str] | str = ("int8", "int4"),
    granularity: Granularity = "channel",
    layers: str = "*",
    on_progress: Callable[[int, int], None] | None = None,
) -> list[LayerDrift]:
    """Drift of every linear layer of a checkpoint, read one at a time: the model is not built.

    Raises
    ------
    BadInput
        Unknown format, a glob that matches no linear layer, a NaN weight, a path that is no model.
    """
    from checkpoint_lens import open_checkpoint

    kinds = formats_named(formats)
    checkpoint = open_checkpoint(model)
    chosen = [layer for layer in checkpoint.linear_layers() if fnmatchcase(layer.name, layers)]
    if not chosen:
        raise BadInput(f"no linear layer of {model} matches {layers!r}: see `checkpoint-lens ls`")
    found = []
    for done, layer in enumerate(chosen, 1):
        weight = checked(np.asarray(checkpoint[layer.tensor]))
        before = singular_values(weight)
        for kind in kinds:
            after = quantize(weight, kind, granularity=granularity).dequantized
            measured = measured_drift(weight, after, spectrum=before)
            predicted = predict_drift(weight, kind, granularity=granularity, spectrum=before)
            found.append(LayerDrift(layer.name, kind.name, predicted, measured, measured > LIMIT))
        if on_progress is not None:
            on_progress(done, len(chosen))
    return found
