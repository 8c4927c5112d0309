"""How far quantization moves the singular values of a weight; with the eigenvalues, that of a layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from mfi_command import BadInput
from quant_risk_analyzer.eigenvalue_drift import Eigensystem, measured_eigenvalue_drift, predicted_from
from quant_risk_analyzer.formats import Granularity, NumberFormat, format_named, formats_named
from quant_risk_analyzer.noisy_spectrum import noisy_squares
from quant_risk_analyzer.quantizers import checked, rounded
from quant_risk_analyzer.row_noise import LIVE, matrix, median_of_largest, row_noise

LIMIT = 0.10  # a layer whose spectrum moves more than this is flagged
EIGENVALUE_SIDE = 1024  # of wider weights no eigenvalues: 25 n^3 operations that hardly run in parallel
# Neighbours scatter together: the largest of them scatters less than the largest of independent ones. Fitted
# to simulated noise on random spectra, benchmarks/drift.py.
COMMON = 0.66

Array = np.ndarray[Any, Any]


def singular_values(W: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    r"""Singular values of a weight, largest first, from the eigenvalues of the smaller Gram matrix.

    Computed in float64: a value is wrong by about :math:`10^{-16} (\sigma_1/\sigma)^2`, relative, which is
    nothing over the top half of a spectrum and too much for the smallest. Cost O(min(m, n)^2 max(m, n)).
    """
    values: np.ndarray[Any, Any] = np.sqrt(np.maximum(_eigenvalues(_gram(matrix(W))), 0))
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
    r"""Drift expected from the noise of the rounding; no spectrum of a quantized weight is computed.

    The rounding error of row r is taken for independent noise of the variance :math:`v_r` beside a part
    :math:`-b_r W_r` along the row itself (what rounds to zero shrinks). Both follow from the step: the mean
    square of :math:`w - s\,\mathrm{round}(w/s)` over the row and its product with the row. Then

    .. math:: \lambda_i = \mathrm{eig}_i\bigl((I - B)\, W W^T (I - B) + n\,(V - \bar v I)\bigr)

    holds what the rows do differently, and `noisy_squares` adds the common noise :math:`\bar v`, the
    repulsion of neighbouring values included. Around that a value scatters by :math:`\sqrt{\bar v}` where it
    stands alone; where its neighbours are closer, by their distance g,
    :math:`(g/\pi)\sqrt{\log(1 + \pi^2 \bar v/g^2)}`. The answer is the median of the largest relative change
    over the top half.

    Parameters
    ----------
    W
        Weight (out, in), numpy array or torch tensor.
    format, granularity
        As for `quantize`.
    spectrum
        Singular values of `W`, largest first, when known.

    Returns
    -------
    float
        A fraction; 0 for a weight of zeros.

    Raises
    ------
    BadInput
        As `quantize`.

    Notes
    -----
    Cost O(min(m, n)^2 max(m, n)) for a weight with no more rows than columns, one symmetric eigenvalue
    problem; else what `spectrum` costs. The scatter of the noise is not predictable: around the limit
    of 10 % some layers fall on the other side (benchmarks/drift.py counts them).

    Source: Dozier and Silverstein, "On the empirical distribution of eigenvalues of large dimensional
    information-plus-noise-type matrices", J. Multivariate Analysis 2007.
    """
    kind = format_named(format) if isinstance(format, str) else format
    work = matrix(checked(W))
    before = singular_values(work) if spectrum is None else np.asarray(spectrum, np.float64)
    if not before[0] > 0:
        return 0.0
    moved, noise = _expected(work, matrix(rounded(work, kind, granularity)) - work, before)
    top = before[: (len(before) + 1) // 2]
    top = top[top > top[0] * LIVE]
    means = moved[: len(top)] / top - 1
    gaps = np.abs(np.gradient(moved)) if len(moved) > 1 else np.zeros(1)
    gaps = np.convolve(np.pad(gaps, 2, mode="edge"), np.ones(5) / 5, "valid")[: len(top)]
    together = gaps / np.pi * np.sqrt(np.log1p((np.pi * noise / np.maximum(gaps, 1e-30 * top[0])) ** 2))
    alone = together / noise if noise > 0 else np.zeros_like(together)
    scatter = together * (COMMON + (1 - COMMON) * alone)
    return _median_of_largest(means, np.maximum(scatter, 1e-12 * top[0]) / top)


def drift_bound(
    W: Any,
    format: str | NumberFormat,
    *,
    granularity: Granularity = "channel",
    spectrum: Any | None = None,
) -> float:
    r"""What the drift cannot exceed, from the rounding errors alone.

    No singular value moves by more than the spectral norm of the error E (Weyl), and

    .. math:: \|E\|_2 \le \min\bigl(\|E\|_F, \sqrt{\|E\|_1 \|E\|_\infty}\bigr).

    Divided by the smallest singular value of the top half. Infinite where that is below 1e-6 of the largest:
    relative changes of such values are not counted in a drift, and a bound would be of no use. Not sharp: for
    random errors the norm is about :math:`(1/\sqrt m + 1/\sqrt n)\,\|E\|_F`.
    """
    kind = format_named(format) if isinstance(format, str) else format
    work = matrix(checked(W))
    error = np.abs(matrix(rounded(work, kind, granularity)) - work)
    norm = min(float(np.linalg.norm(error)), math.sqrt(float(error.sum(0).max()) * float(error.sum(1).max())))
    values = singular_values(work) if spectrum is None else np.asarray(spectrum)
    top = values[: (len(values) + 1) // 2]
    live = top[top > top[0] * LIVE]
    return norm / float(live[-1]) if len(live) else 0.0


def _expected(work: Array, error: Array, spectrum: Array) -> tuple[Array, float]:
    """Expected singular values after the rounding, and the deviation of its noise."""
    rows, columns = work.shape
    noise = row_noise(work, error)
    kept, variances = noise.kept, noise.variances
    common = float(variances.mean())
    if rows <= columns:
        gram = _gram(work) * kept[:, None] * kept[None, :]
        gram[np.diag_indices(rows)] += columns * (variances - common)
        squares = np.maximum(_eigenvalues(gram), 0)
    else:
        # Without the left vectors: the mean over the rows, weighted by what they hold.
        sizes = (work**2).mean(1)
        share = float((kept * sizes).sum() / max(sizes.sum(), np.finfo(np.float64).tiny))
        squares = (share * spectrum) ** 2
    short, long = min(rows, columns), max(rows, columns)
    return np.sqrt(noisy_squares(squares, common, short, long)), math.sqrt(common)


def _gram(A: Array) -> Array:
    # torch: numpy's BLAS threads and torch's, both spinning, stall each other for seconds.
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(A))
    product: Array = (tensor @ tensor.T if len(A) <= A.shape[1] else tensor.T @ tensor).numpy()
    return product


def _eigenvalues(gram: Array) -> Array:
    """Of a symmetric matrix, largest first."""
    import torch

    values: Array = torch.linalg.eigvalsh(torch.from_numpy(gram)).flip(0).numpy()
    return values


def _median_of_largest(means: Array, deviations: Array) -> float:
    """Median of `max |means + deviations * normal|` for independent normals."""
    from scipy.special import ndtr

    def below(limit: float) -> Array:
        inside: Array = ndtr((limit - means) / deviations) - ndtr((-limit - means) / deviations)
        return inside

    return median_of_largest(below, float((np.abs(means) + 8 * deviations).max()))


@dataclass(frozen=True)
class LayerDrift:
    """Drift of one layer in one format, as fractions.

    Attributes
    ----------
    name, format
        Which.
    predicted, measured
        The larger of the two spectra's.
    exceeds
        The measured drift is over 10 %.
    singular_predicted, singular_measured, bound
        Of the singular values; `bound` cannot be exceeded.
    eigenvalue_predicted, eigenvalue_measured
        Of the eigenvalues; None where the weight is not square, or wider than 1024.
    """

    name: str
    format: str
    predicted: float
    measured: float
    exceeds: bool
    singular_predicted: float
    singular_measured: float
    bound: float
    eigenvalue_predicted: float | None
    eigenvalue_measured: float | None

    def to_dict(self) -> dict[str, object]:
        """As a plain dictionary."""
        return asdict(self)


def drifts(
    model: str | Path,
    *,
    formats: Sequence[str] | str = ("int8", "int4"),
    granularity: Granularity = "channel",
    layers: str = "*",
    on_invalid: Callable[[str, str], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[LayerDrift]:
    """Drift of every linear layer of a checkpoint, read one at a time: the model is not built.

    Parameters
    ----------
    model, formats, granularity, layers
        As for `rate`; a path or "reference".
    on_invalid
        Called with the name of a weight that holds NaN or infinities, and the reason; the rest is finished.
        Without it such a weight is an error.
    on_progress
        Called with (layers done, layers).

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
        weight = np.asarray(checkpoint[layer.tensor])
        if on_invalid is not None and not np.isfinite(weight.astype(np.float32)).all():
            on_invalid(layer.name, "NaN or infinite")
        else:
            found += layer_drifts(layer.name, checked(weight), kinds, granularity)
        if on_progress is not None:
            on_progress(done, len(chosen))
    return found


def layer_drifts(
    name: str, W: Any, kinds: Sequence[NumberFormat], granularity: Granularity
) -> list[LayerDrift]:
    """Drift of one weight in each format, predicted and measured."""
    work = matrix(W)
    before = singular_values(work)
    square = work.shape[0] == work.shape[1] <= EIGENVALUE_SIDE
    system = Eigensystem.of(work) if square else None
    found = []
    for kind in kinds:
        after = matrix(rounded(W, kind, granularity))
        singular = (
            predict_drift(W, kind, granularity=granularity, spectrum=before),
            measured_drift(W, after, spectrum=before),
        )
        eigen: tuple[float | None, float | None] = (None, None)
        if system is not None:
            noise = row_noise(work, after - work)
            eigen = (
                predicted_from(system, noise.kept, noise.variances),
                measured_eigenvalue_drift(W, after, spectrum=system.values),
            )
        predicted, measured = (
            max(each for each in pair if each is not None) for pair in zip(singular, eigen, strict=True)
        )
        bound = drift_bound(W, kind, granularity=granularity, spectrum=before)
        found.append(
            LayerDrift(name, kind.name, predicted, measured, measured > LIMIT, *singular, bound, *eigen)
        )
    return found
