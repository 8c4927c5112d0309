"""What one matrix says without a model: rounding error, outliers, norms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from quant_risk_analyzer.formats import Granularity, NumberFormat, format_blocks, from_blocks
from quant_risk_analyzer.grids import absmax_grid

Array = np.ndarray[Any, Any]
# Numbers in float32 at a time: they and their copies stay in a core's cache, whatever the tensor's size.
PART = 2**18
OUTLIER_CHANNEL = 6.0  # times the median channel's root mean square
POWER_STEPS = 8
SAFE = 1e9  # the fourth power of a larger number leaves float32


@dataclass(frozen=True)
class FormatFacts:
    """Rounding of one matrix to one format: `||E||/||W||`, its worst row, and `20 log10` of the inverse."""

    relative_error: float
    worst_row_error: float
    snr_db: float

    def to_dict(self) -> dict[str, object]:
        """As a plain dictionary."""
        return asdict(self)


@dataclass(frozen=True)
class MatrixFacts:
    """One matrix.

    Attributes
    ----------
    name, shape, dtype
        As in `checkpoint_lens.WeightMatrix`.
    invalid
        Number of NaN and infinite elements: with any, nothing else is known.
    root_mean_square, largest
        Of the weights.
    kurtosis
        Fourth moment over the squared second: 3 for normal weights.
    outlier_inputs, outlier_outputs
        Channels whose root mean square is over 6 times the median channel's.
    spectral_norm
        Lower bound of the largest singular value, from power iteration; typically within 2 %.
    stable_rank
        `||W||_F^2 / ||W||_2^2`.
    formats
        By format.
    """

    name: str
    shape: tuple[int, int]
    dtype: str
    invalid: int
    root_mean_square: float
    largest: float
    kurtosis: float
    outlier_inputs: int
    outlier_outputs: int
    spectral_norm: float
    stable_rank: float
    formats: dict[str, FormatFacts]

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return self.shape[0] * self.shape[1]

    def to_dict(self) -> dict[str, Any]:
        """As a plain dictionary."""
        return asdict(self)


def matrix_facts(
    name: str, matrix: Array, dtype: str, kinds: Sequence[NumberFormat], granularity: Granularity
) -> MatrixFacts:
    """Facts of one matrix (out, in), read part by part: a copy in float32 is never made of the whole.

    Cost about ten passes and three for each format. `granularity="tensor"` needs a pass more for the scale.
    """
    rows, columns = matrix.shape
    step = max(1, PART // columns)
    squares = np.zeros(columns)
    heights = np.zeros(rows)
    fourth, largest, invalid = 0.0, 0.0, 0
    errors = {kind.name: np.zeros(rows) for kind in kinds}
    whole = _tensor_top(matrix, step) if granularity == "tensor" else None
    vector = np.random.default_rng(0).standard_normal(columns).astype(np.float32)
    for start in range(0, rows, step):
        part = np.ascontiguousarray(matrix[start : start + step]).astype(np.float32)
        finite = np.isfinite(part)
        if not finite.all():
            invalid += int(part.size - finite.sum())
            continue
        here = slice(start, start + len(part))
        top = float(np.abs(part).max())
        part = part if top < SAFE else part.astype(np.float64)
        square = part * part
        heights[here] = square.sum(1, dtype=np.float64)
        squares += square.sum(0, dtype=np.float64)
        fourth += float(np.vdot(square, square))
        largest = max(largest, top)
        for kind in kinds:
            errors[kind.name][here] = _row_errors(part, kind, granularity, whole)
    if invalid:
        none = float("nan")
        return MatrixFacts(name, (rows, columns), dtype, invalid, none, none, none, 0, 0, none, none, {})
    total = float(heights.sum())
    arithmetic = np.float32 if largest < SAFE else np.float64
    norm = _spectral_norm(matrix, vector.astype(arithmetic), step) if total else 0.0
    return MatrixFacts(
        name=name,
        shape=(rows, columns),
        dtype=dtype,
        invalid=0,
        root_mean_square=(total / matrix.size) ** 0.5,
        largest=largest,
        kurtosis=fourth / matrix.size / (total / matrix.size) ** 2 if total else 0.0,
        outlier_inputs=_outliers(squares),
        outlier_outputs=_outliers(heights),
        spectral_norm=norm,
        stable_rank=total / norm**2 if norm else 0.0,
        formats={name: _format_facts(error, heights) for name, error in errors.items()},
    )


def _row_errors(part: Array, kind: NumberFormat, granularity: Granularity, whole: float | None) -> Array:
    if whole is not None and kind.block is None:
        # One scale for the tensor: its largest weight is put beside the part, where the scale is found.
        padded = np.concatenate([part.reshape(-1), np.array([whole], np.float32)])[None, None]
        nearest = absmax_grid(padded, kind).nearest(padded)[0, 0, :-1].reshape(part.shape)
    else:
        blocks = format_blocks(part, kind, granularity)
        nearest = from_blocks(absmax_grid(blocks, kind).nearest(blocks), part.shape)
    nearest -= part
    found: Array = np.vecdot(nearest, nearest).astype(np.float64)
    return found


def _tensor_top(matrix: Array, step: int) -> float:
    tops = [
        float(np.abs(matrix[start : start + step].astype(np.float32)).max())
        for start in range(0, len(matrix), step)
    ]
    return max(tops)


def _spectral_norm(matrix: Array, vector: Array, step: int) -> float:
    """`||W v||` after a few steps of the power method on W^T W: not above the norm, but for rounding."""
    norm = 0.0
    for _ in range(POWER_STEPS):
        vector = vector / np.linalg.norm(vector)
        image = np.zeros_like(vector)
        square = 0.0
        for start in range(0, len(matrix), step):
            part = np.ascontiguousarray(matrix[start : start + step]).astype(vector.dtype)
            along = part @ vector
            square += float(np.vdot(along, along))
            image += along @ part
        norm = square**0.5
        if not np.linalg.norm(image) > 0:
            break
        vector = image
    return norm


def _outliers(squares: Array) -> int:
    sizes = np.sqrt(squares)
    return int((sizes > OUTLIER_CHANNEL * np.median(sizes)).sum())


def _format_facts(errors: Array, heights: Array) -> FormatFacts:
    total, error = float(heights.sum()), float(errors.sum())
    relative = (error / total) ** 0.5 if total else 0.0
    live = heights > 0
    worst = float(np.sqrt((errors[live] / heights[live]).max())) if live.any() else 0.0
    return FormatFacts(relative, worst, float("inf") if relative == 0 else -20 * float(np.log10(relative)))
