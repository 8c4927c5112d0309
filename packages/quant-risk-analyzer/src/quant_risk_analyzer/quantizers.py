"""Round-to-nearest quantization of a weight, per tensor, per output channel or per group of inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from mfi_command import BadInput
from quant_risk_analyzer.formats import (
    Granularity,
    NumberFormat,
    bits_per_weight,
    format_blocks,
    format_named,
    from_blocks,
    namespace,
)
from quant_risk_analyzer.grids import Grid, LinearGrid, OffsetGrid, absmax_grid, grid_of


@dataclass(frozen=True)
class Quantized:
    """A quantized weight.

    Attributes
    ----------
    codes
        Shape of the weight: int8 in `-limit ... limit` (symmetric integers) or uint8 in `0 ... 2**bits - 1`
        (asymmetric integers, bit patterns of floats, numbers of levels).
    scales
        Steps of the grid, shape (rows, blocks), in the units of the weight; q4_k: (rows, blocks, 256).
    zero_points
        Codes that mean 0, shape as `scales`; None for a symmetric grid. For q4_k the minimum that is
        subtracted, in the units of the weight.
    dequantized
        `(codes - zero_point) * scale`: same type, dtype and shape as the weight.
    format, granularity
        What was asked for.
    relative_error
        `||W - dequantized|| / ||W||`, Frobenius norm, dimensionless; 0 for a weight of zeros.
    bits_per_weight
        Codes, scales (16 bits each) and zero points (as wide as a code), divided by the number of weights.
    """

    codes: Any
    scales: Any
    zero_points: Any | None
    dequantized: Any
    format: NumberFormat
    granularity: Granularity
    relative_error: float
    bits_per_weight: float

    @property
    def snr_db(self) -> float:
        """Signal-to-noise ratio in decibels, `-20 log10(relative_error)`; infinite without an error."""
        return math.inf if self.relative_error == 0 else -20 * math.log10(self.relative_error)

    def to_dict(self) -> dict[str, object]:
        """What describes the quantization, without the arrays."""
        return {
            "format": self.format.name,
            "granularity": self.granularity,
            "relative_error": self.relative_error,
            "snr_db": self.snr_db,
            "bits_per_weight": self.bits_per_weight,
        }


def quantize(
    W: Any,
    format: str | NumberFormat,
    *,
    granularity: Granularity = "channel",
    symmetric: bool = True,
    scales: Any | None = None,
) -> Quantized:
    r"""Round a weight to the nearest number that a format can hold.

    Integers:

    .. math:: q = \mathrm{clip}(\mathrm{round}(w / s)), \qquad \hat w = s\,q

    with :math:`s = \max|w| / (2^{b-1} - 1)` over the block that shares the scale, or, asymmetric,
    :math:`s = (\max(w, 0) - \min(w, 0)) / (2^b - 1)` and a zero point. Ties go to the even code. Floats and
    nf4: the same with the largest number of the format in place of :math:`2^{b-1} - 1`. MX, NVFP4 and q4_k
    have blocks and scales of their own, and no use for `granularity`.

    Parameters
    ----------
    W
        Weight (out, in), or any shape whose first axis is the output; numpy array or torch tensor, floating.
    format
        "int8", "int4", ... (2 to 8 bits), "fp8_e4m3", "fp8_e5m2", "fp4_e2m1", "nf4", "mxfp8_e4m3",
        "mxfp8_e5m2", "mxfp4", "nvfp4", "q4_k".
    granularity
        "tensor" (one scale), "channel" (one per output row), or a group size along the input axis; the last
        group may be shorter.
    symmetric
        Without a zero point, or with one (integers only).
    scales
        Steps to use in place of the absmax rule, shape (rows, blocks), for instance from `search_scale`;
        weights beyond the grid are clipped. Symmetric only.

    Returns
    -------
    Quantized
        The error of each weight is at most half a step, unless `scales` clip it.

    Raises
    ------
    BadInput
        NaN, infinity, no elements, integers, an unknown format or granularity, scales of another shape.

    Notes
    -----
    Computed in float32 (float64 for a float64 weight). Cost O(out * in). A block of zeros gets the scale 1.

    Sources: Nagel et al., "A White Paper on Neural Network Quantization", 2021, section 2; OCP Microscaling
    Formats 1.0; Dettmers et al., "QLoRA", 2023 (nf4); ggml's block_q4_K.

    Examples
    --------
    >>> import numpy as np
    >>> quantize(np.array([[0.7, -0.2, 0.34]], np.float32), "int4").codes.tolist()
    [[7, -2, 3]]
    """
    kind = format_named(format) if isinstance(format, str) else format
    work = checked(W)
    blocks = format_blocks(work, kind, granularity)
    if scales is None:
        grid = absmax_grid(blocks, kind, symmetric=symmetric)
    elif symmetric:
        grid = grid_of(blocks, scales, kind)
    else:
        raise BadInput("scales were given for an asymmetric grid: expected symmetric=True")
    codes = grid.encode(blocks)
    values = from_blocks(grid.decode(codes), work.shape)
    return Quantized(
        codes=_narrow(from_blocks(codes, work.shape), signed=grid.signed_codes),
        scales=grid.scale if isinstance(grid, OffsetGrid) else grid.scale[..., 0],
        zero_points=_zero_points(grid),
        dequantized=_as(values, W),
        format=kind,
        granularity=granularity,
        relative_error=relative_error(work, values),
        bits_per_weight=bits_per_weight(kind, tuple(work.shape), granularity, symmetric=symmetric),
    )


def _zero_points(grid: Grid) -> Any | None:
    if isinstance(grid, OffsetGrid):
        return grid.offset
    if isinstance(grid, LinearGrid) and grid.zero is not None:
        return _narrow(grid.zero[..., 0], signed=False)
    return None


def rounded(W: Any, kind: NumberFormat, granularity: Granularity) -> Any:
    """The values of `quantize(W, kind, granularity=granularity).dequantized`, without its figures."""
    work = checked(W)
    blocks = format_blocks(work, kind, granularity)
    grid = absmax_grid(blocks, kind, symmetric=True)
    return _as(from_blocks(grid.nearest(blocks), work.shape), W)


def checked(W: Any) -> Any:
    """`W` in the arithmetic type (float64 stays, all others become float32); BadInput when unusable."""
    xp = namespace(W)
    if math.prod(W.shape) == 0:
        raise BadInput(f"a weight of shape {tuple(W.shape)} has no elements: nothing to quantize")
    if str(W.dtype).rpartition(".")[2].startswith(("int", "uint", "bool", "complex")):
        raise BadInput(f"a weight of dtype {W.dtype} cannot be quantized: expected a floating dtype")
    wide = xp.float64 if W.dtype == xp.float64 else xp.float32
    work = W.astype(wide) if xp.__name__ == "numpy" else W.detach().to(wide)
    if not bool(xp.isfinite(work).all()):
        bad = int((~xp.isfinite(work)).sum())
        raise BadInput(f"a weight of shape {tuple(W.shape)} has {bad} NaN or infinite elements")
    return work


def relative_error(W: Any, approximation: Any) -> float:
    """`||W - approximation|| / ||W||` in the Frobenius norm; 0 when both are zero."""
    from stable_ops import vector_norm

    # float64 and scaled inside: the square of 1e30 is beyond float32, that of 1e-30 below it.
    size = float(vector_norm(_wide(W).reshape(-1)))
    return float(vector_norm(_wide(W - approximation).reshape(-1))) / size if size else 0.0


def _wide(values: Any) -> Any:
    return values.astype("float64") if namespace(values).__name__ == "numpy" else values.double()


def _narrow(codes: Any, *, signed: bool) -> Any:
    xp = namespace(codes)
    kind = xp.int8 if signed else xp.uint8
    return codes.astype(kind) if xp.__name__ == "numpy" else codes.to(kind)


def _as(values: Any, like: Any) -> Any:
    return values.astype(like.dtype) if namespace(like).__name__ == "numpy" else values.to(like.dtype)
