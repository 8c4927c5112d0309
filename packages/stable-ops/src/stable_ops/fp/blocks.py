"""Block scaling: groups of numbers in a narrow format that share one scale (MX, NVFP4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput
from stable_ops.fp.formats import (
    E8M0FNU,
    FP4_E2M1,
    FP6_E2M3,
    FP6_E3M2,
    FP8_E4M3FN,
    FP8_E5M2,
    FP32,
    Format,
)
from stable_ops.fp.rounding import Rounder, Rounding, Seed, round_float64

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class BlockFormat:
    """A format of blocks: elements of one format, and one scale a block.

    Attributes
    ----------
    name : str
    element, scale : Format
        A scale "e8m0fnu" is a power of two, chosen by the rule of the OCP specification; another format
        (NVFP4: e4m3) is chosen so that the largest element of a block becomes the largest number of
        `element`, with one float32 scale more for the whole tensor.
    block : int
        Elements in a block.
    """

    name: str
    element: Format
    block: int = 32
    scale: Format = E8M0FNU

    @property
    def bits_per_element(self) -> float:
        """Stored bits an element, its part of the scale included."""
        return self.element.bits + self.scale.bits / self.block

    def to_dict(self) -> dict[str, object]:
        """The constants, as `stable-ops formats --json` prints them."""
        return {
            "format": self.name,
            "element": self.element.name,
            "scale": self.scale.name,
            "block": self.block,
            "bits_per_element": self.bits_per_element,
        }


BLOCK_FORMATS = {
    f.name: f
    for f in (
        BlockFormat("mxfp8_e4m3", FP8_E4M3FN),
        BlockFormat("mxfp8_e5m2", FP8_E5M2),
        BlockFormat("mxfp6_e2m3", FP6_E2M3),
        BlockFormat("mxfp6_e3m2", FP6_E3M2),
        BlockFormat("mxfp4_e2m1", FP4_E2M1),
        BlockFormat("nvfp4", FP4_E2M1, 16, FP8_E4M3FN),
    )
}
_OTHER_NAMES = {"mxfp8": "mxfp8_e4m3", "mxfp6": "mxfp6_e3m2", "mxfp4": "mxfp4_e2m1"}


@dataclass(frozen=True)
class Blocks:
    """A tensor in a block format.

    Attributes
    ----------
    values : numpy array or torch tensor, shape of the argument
        What is stored, scale times element: rounded once more to float32 where the argument was float32.
    elements : numpy.ndarray, float64, shape of the argument
        Numbers of the element format.
    scales : numpy.ndarray, float64, shape of the argument with `axis` of length ceil(n / block)
        Numbers of the scale format, before the scale of the tensor.
    tensor_scale : float
        1 for MX; for NVFP4 a float32 number.
    format : str
    """

    values: Any
    elements: Float64
    scales: Float64
    tensor_scale: float
    format: str


def get_block_format(name: str | BlockFormat) -> BlockFormat:
    """The block format of that name; a BlockFormat passes through.

    Parameters
    ----------
    name : str or BlockFormat
        A key of `BLOCK_FORMATS`, or mxfp8 (for mxfp8_e4m3), mxfp6 (mxfp6_e3m2), mxfp4 (mxfp4_e2m1).

    Raises
    ------
    BadInput
        For another name.

    Examples
    --------
    >>> get_block_format("mxfp4").bits_per_element
    4.25
    """
    if isinstance(name, BlockFormat):
        return name
    key = str(name).lower().replace("-", "_")
    found = BLOCK_FORMATS.get(_OTHER_NAMES.get(key, key))
    if found is None:
        raise BadInput(f"no block format is named {str(name)!r}: use one of {', '.join(BLOCK_FORMATS)}")
    return found


def round_to_blocks(
    x: Any,
    format: str | BlockFormat,
    *,
    axis: int = -1,
    rounding: Rounding = "nearest",
    seed: Seed = None,
) -> Blocks:
    """Store a tensor in a block format and read it back.

    Parameters
    ----------
    x : numpy array or torch tensor, any shape with at least one axis
    format : str or BlockFormat
        mxfp8_e4m3, mxfp8_e5m2, mxfp6_e2m3, mxfp6_e3m2, mxfp4_e2m1 (blocks of 32) or nvfp4 (of 16).
    axis : int
        Along which a block lies; the last block is short where the length is no multiple.
    rounding, seed
        Of the elements, as in `round_to`. Scales are not rounded stochastically.

    Returns
    -------
    Blocks

    Notes
    -----
    MX: the scale is :math:`2^{\\lfloor\\log_2 \\max|x|\\rfloor - e_{max}}` with :math:`e_{max}`
    the exponent of the largest element number, kept within :math:`2^{\\pm127}`; elements are :math:`RN(x /
    scale)` and saturate, so the largest of a block may lose up to an eighth (e4m3: 480 of its 2^9 range are
    left as 448). A block of zeros has the scale :math:`2^{-127}`. With a NaN or an infinity in it the scale
    is NaN, and all that block. NVFP4: :math:`s_t = \\max|x| / (6 \\cdot 448)` in float32 for the tensor,
    :math:`RN_{e4m3}(\\max_{block}|x| / 6 s_t)` for a block. Cost O(n). Sources: OCP Microscaling Formats (MX)
    1.0, section 6.3; NVIDIA, Pretraining large language models with NVFP4 (2025).

    Raises
    ------
    BadInput
        An unknown format, an axis that x has not, a dtype that is none.

    Examples
    --------
    >>> import numpy as np
    >>> stored = round_to_blocks(np.array([0.1, -1.0, 3.0, 5.9]), "mxfp4")
    >>> stored.values.tolist(), stored.scales.tolist()
    ([0.0, -1.0, 3.0, 6.0], [1.0])
    """
    from stable_ops.arrays import unwrap

    chosen = get_block_format(format)
    operand = unwrap(x)
    shape = operand.values.shape
    if not shape or not -len(shape) <= axis < len(shape):
        raise BadInput(f"axis {axis} is not one of an array of shape {shape}: pass one that it has")
    moved = np.moveaxis(operand.values, axis, -1).astype(np.float64)
    blocks = _split(moved, chosen.block)
    largest = np.abs(blocks).max(axis=-1, initial=0.0)
    finite = np.isfinite(largest)
    tensor_scale, scales = _scales(np.where(finite, largest, 0.0), chosen)
    full = (scales * tensor_scale)[..., None]
    with np.errstate(invalid="ignore", divide="ignore"):
        quotients = np.where((full > 0) & finite[..., None], blocks / full, 0.0)
    limit = chosen.element.max
    # Clipped before the rounding too: an element of a block never overflows, it saturates.
    elements = Rounder(chosen.element, rounding, seed).array(np.clip(quotients, -limit, limit))
    scales = np.where(finite, scales, np.nan)
    stored = elements * np.where(finite, scales * tensor_scale, np.nan)[..., None]
    narrow = operand.values.dtype == np.float32
    values = _join(stored, shape, axis)
    return Blocks(
        operand.like(values.astype(np.float32) if narrow else values),
        _join(elements, shape, axis),
        np.moveaxis(scales, -1, axis),
        tensor_scale,
        chosen.name,
    )


def _split(x: Float64, block: int) -> Float64:
    padding = [(0, 0)] * (x.ndim - 1) + [(0, -x.shape[-1] % block)]
    return np.pad(x, padding).reshape(*x.shape[:-1], -(-x.shape[-1] // block), block)


def _join(blocks: Float64, shape: tuple[int, ...], axis: int) -> Float64:
    flat = blocks.reshape(*blocks.shape[:-2], blocks.shape[-2] * blocks.shape[-1])
    return np.moveaxis(flat[..., : shape[axis]], -1, axis)


def _scales(largest: Float64, format: BlockFormat) -> tuple[float, Float64]:
    """The scale of the tensor and those of the blocks, from the largest magnitude of each."""
    if format.scale == E8M0FNU:
        top = int(np.frexp(format.element.max)[1])
        exponent = np.frexp(largest)[1] - top
        return 1.0, np.ldexp(1.0, np.where(largest > 0, np.clip(exponent, -127, 127), -127))
    reach = format.element.max * format.scale.max
    tensor_scale = float(round_float64(np.array([largest.max(initial=0.0) / reach]), FP32)[0])
    if tensor_scale == 0:
        return 1.0, np.zeros_like(largest)
    wanted = np.minimum(largest / (format.element.max * tensor_scale), format.scale.max)
    return tensor_scale, round_float64(wanted, format.scale)
