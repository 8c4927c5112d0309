"""fp8 weights and the scales that belong to them, under the names that the usual tools give."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import numpy as np

from mfi_command import BadInput

Array = np.ndarray[Any, Any]
FLOAT8 = ("float8_e4m3fn", "float8_e5m2")
# After the tensor's own name: DeepSeek, compressed-tensors and vLLM, ModelOpt, ComfyUI, plain `.scale`.
_AFTER = ("_scale_inv", "_scale", ".scale")
_BESIDE = ("weight_scale_inv", "weight_scale", "scale_weight", "scale", "scale_inv")
SCALE_NAMES = (
    "weight_scale_inv",
    "weight_scale",
    "scale_weight",
    "input_scale",
    "output_scale",
    "k_scale",
    "v_scale",
    "activation_scale",
)


def scale_of(name: str, names: Container[str], where: str) -> str:
    """Name of the tensor that an fp8 tensor is multiplied with.

    Raises
    ------
    BadInput
        If there is none: the numbers without it are not the weights, often by a factor of thousands.
    """
    prefix = name.removesuffix("weight")
    candidates = [name + ending for ending in _AFTER]
    if prefix != name:
        candidates += [prefix + ending for ending in _BESIDE]
    for each in candidates:
        if each in names:
            return each
    raise BadInput(
        f"{where}: {name} is fp8 and has no scale; expected one of {', '.join(dict.fromkeys(candidates))}"
    )


def dequantized(values: Array, scale: Array, name: str) -> Array:
    """`values * scale` in float32: one scale, one a row, or one for each block of both axes.

    Raises
    ------
    BadInput
        If the shapes do not fit.
    """
    wide = values.astype(np.float32)
    factor = np.asarray(scale).astype(np.float32)
    if factor.size == 1:
        wide *= factor.reshape(())
        return wide
    if factor.ndim == wide.ndim - 1 and factor.shape == wide.shape[:-1]:
        factor = factor[..., None]
    if factor.ndim == 1 and wide.ndim == 3 and len(factor) == len(wide):
        factor = factor[:, None, None]
    if factor.ndim != wide.ndim:
        raise BadInput(f"{name} has shape {values.shape} and its scale {np.shape(scale)}: they do not fit")
    for axis in (wide.ndim - 2, wide.ndim - 1):
        blocks, extent = factor.shape[axis], wide.shape[axis]
        if blocks not in (1, extent):
            length = _block(extent, blocks, name)
            factor = np.repeat(factor, length, axis=axis)
            factor = factor[(slice(None),) * axis + (slice(extent),)]
    try:
        wide *= factor
    except ValueError as error:
        raise BadInput(
            f"{name} has shape {values.shape} and its scale {np.shape(scale)}: they do not fit"
        ) from error
    return wide


def _block(extent: int, blocks: int, name: str) -> int:
    """Length of a block: the usual 128 where it fits, else the shortest that does."""
    for length in (128, -(-extent // blocks)):
        if -(-extent // length) == blocks:
            return length
    raise BadInput(f"{name}: {blocks} scales for {extent} rows or columns do not make equal blocks")
