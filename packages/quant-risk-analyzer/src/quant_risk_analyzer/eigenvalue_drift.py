"""How far quantization moves the eigenvalues of a square weight: measured, and predicted from the step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from quant_risk_analyzer.formats import Granularity, NumberFormat, format_named
from quant_risk_analyzer.quantizers import checked, rounded
from quant_risk_analyzer.row_noise import LIVE, matrix, median_of_largest, row_noise

# An eigenvalue that moves past its neighbours is paired with a nearer one. Fitted to simulated noise on
# random matrices, benchmarks/drift.py --fit.
REACH = 0.7
NEIGHBOURS = 4  # whose distance tells the spacing around an eigenvalue

Array = np.ndarray[Any, Any]


def eigenvalues(W: Any) -> np.ndarray[Any, np.dtype[np.complex128]]:
    """Eigenvalues of a square weight (n, n), largest modulus first, complex128. Cost O(n^3)."""
    import torch

    values: Array = torch.linalg.eigvals(torch.from_numpy(np.ascontiguousarray(matrix(W)))).numpy()
    return values[np.argsort(-np.abs(values), kind="stable")]


def relative_eigenvalue_drift(before: Any, after: Any) -> float:
    r"""Largest relative change :math:`|\lambda_i' - \lambda_i| / |\lambda_i|` over the top half by modulus.

    Eigenvalues have no order that survives a change: each is paired with one of `after` such that the sum of
    all distances in the complex plane is the smallest. 0 where all are 0. Cost O(n^3) for the pairing.
    """
    from scipy.optimize import linear_sum_assignment

    old, new = np.asarray(before), np.asarray(after)
    distances = np.abs(old[:, None] - new[None, :])
    moved = distances[linear_sum_assignment(distances)]
    sizes = np.abs(old)
    top = _top(sizes)
    return float((moved[top] / sizes[top]).max()) if len(top) else 0.0


def measured_eigenvalue_drift(W: Any, quantized: Any, *, spectrum: Any | None = None) -> float:
    """`relative_eigenvalue_drift` of a square weight, whose eigenvalues (`spectrum`) may be known."""
    return relative_eigenvalue_drift(eigenvalues(W) if spectrum is None else spectrum, eigenvalues(quantized))


def predict_eigenvalue_drift(
    W: Any, format: str | NumberFormat, *, granularity: Granularity = "channel"
) -> float:
    r"""Drift of the eigenvalues expected from the noise of the rounding; nothing quantized is decomposed.

    With the left and right eigenvectors y and x of an eigenvalue, independent noise of the variance
    :math:`v_r` in row r moves it, to first order, by a complex number of the mean square

    .. math:: s_i^2 = \frac{\sum_r v_r |y_r|^2 \, \|x\|^2}{|y^H x|^2},

    where all rows are alike :math:`\kappa_i^2 \bar v` with the condition number
    :math:`\kappa_i = \|x\| \|y\| / |y^H x|`. The part of the error along its own row, :math:`-b_r W_r`, adds
    :math:`|\lambda_i| \, |\sum_r b_r \bar y_r x_r| / |y^H x|`. Moved past the spacing h of its neighbours an
    eigenvalue is paired with another: :math:`c h \sqrt{\log(1 + s^2/(c h)^2)}` in place of s. The answer is
    the median of the largest relative change over the top half by modulus.

    Parameters
    ----------
    W
        Square weight (n, n), numpy array or torch tensor.
    format, granularity
        As for `quantize`.

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
    Cost O(n^3), one eigenvalue problem with vectors. Right to first order: near and below 10 % it is a
    forecast, far above it only says that the eigenvalues are lost.

    Source: Stewart and Sun, "Matrix Perturbation Theory", 1990, section IV.2.
    """
    kind = format_named(format) if isinstance(format, str) else format
    work = matrix(checked(W))
    noise = row_noise(work, matrix(rounded(work, kind, granularity)) - work)
    return predicted_from(Eigensystem.of(work), noise.kept, noise.variances)


class Eigensystem:
    """Eigenvalues of a square matrix, largest modulus first; vectors of both sides, scaled to y^H x = 1."""

    def __init__(self, values: Array, right: Array, left: Array) -> None:
        self.values, self.right, self.left = values, right, left

    @classmethod
    def of(cls, work: Array) -> Eigensystem:
        """Of a matrix (n, n), float64."""
        import torch

        values, right = torch.linalg.eig(torch.from_numpy(np.ascontiguousarray(work)))
        # The rows of the inverse are the left vectors. A defective matrix has none: the pseudo-inverse stays
        # finite, and its long rows say that these eigenvalues move far.
        left, failed = torch.linalg.inv_ex(right)
        if int(failed) or not bool(torch.isfinite(left.abs()).all()):
            left = torch.linalg.pinv(right)
        order = np.argsort(-values.abs().numpy(), kind="stable")
        return cls(values.numpy()[order], right.numpy()[:, order], left.numpy()[order])


def predicted_from(system: Eigensystem, kept: Array, variances: Array) -> float:
    """The prediction from what `row_noise` says of each row: the kept share, and the variance beside it."""
    sizes = np.abs(system.values)
    top = _top(sizes)
    if not len(top):
        return 0.0
    lengths = (np.abs(system.right) ** 2).sum(0)
    spread = (np.abs(system.left) ** 2 @ variances) * lengths
    along = sizes * np.abs(np.einsum("ir,r,ri->i", system.left, 1 - kept, system.right))
    far = np.sqrt(spread + along**2)[top]
    reach = REACH * _spacing(system.values)[top]
    moved = reach * np.sqrt(np.log1p((far / np.maximum(reach, 1e-30 * sizes[0])) ** 2))
    # A pair of conjugates moves as one.
    alone = system.values[top].imag >= 0
    pairs = np.abs(system.values[top].imag) > LIVE * sizes[0]
    return _median_of_largest((moved / sizes[top])[alone], pairs[alone])


def _top(sizes: Array) -> Array:
    """Positions of the top half, largest first, without those that are only rounding."""
    top = np.argsort(-sizes, kind="stable")[: (len(sizes) + 1) // 2]
    return top[sizes[top] > sizes.max() * LIVE] if sizes.max() > 0 else top[:0]


def _spacing(values: Array) -> Array:
    """Side of the square that one eigenvalue has to itself around each, from its nearest neighbours."""
    near = min(NEIGHBOURS, len(values) - 1)
    if near == 0:
        return np.abs(values) / LIVE  # no neighbour to be mistaken for
    distances = np.abs(values[:, None] - values[None, :])
    edge = np.partition(distances, near, axis=1)[:, near]
    found: Array = edge * math.sqrt(math.pi / (near + 1))
    return found


def _median_of_largest(scales: Array, complex_values: Array) -> float:
    """Median of the largest of independent changes of these mean squares.

    A complex one has a modulus of Rayleigh's distribution, a real one the modulus of a normal.
    """
    from scipy.special import erf

    if not scales.max() > 0:
        return 0.0
    positive = scales > 0
    sizes, complex_values = scales[positive], complex_values[positive]

    def below(limit: float) -> Array:
        ratio = limit / sizes
        return np.where(complex_values, -np.expm1(-(ratio**2)), erf(ratio / math.sqrt(2)))

    return median_of_largest(below, 8 * float(sizes.max()))
