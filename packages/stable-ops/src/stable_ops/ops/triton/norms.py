"""layer_norm and rms_norm of CUDA tensors: checks, layout, and which kernel takes rows of a length."""

# mypy: disable-error-code="import-untyped"

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import Any

import torch
import triton

from mfi_command import BadInput
from stable_ops.arrays import is_tensor, unwrap, without_gradients
from stable_ops.ops.triton import exchange, norm_rows
from stable_ops.ops.triton.launching import Launch
from stable_ops.ops.triton.rows import last, on_device_of, packed

_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def layer_norm(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """`stable_ops.layer_norm` of a CUDA tensor."""
    return _rows(x, weight, bias, eps, axis, centre=True)


def rms_norm(x: Any, weight: Any, *, eps: float, form: str, axis: int, offset: float = 0.0) -> Any:
    """`stable_ops.rms_norm` of a CUDA tensor; `offset` is added to each weight."""
    return _rows(x, weight, None, eps, axis, twice=form == "hf", offset=offset)


@dataclass(frozen=True)
class Plan:
    """How rows of a length are computed; nothing in it depends on how many there are.

    Tiles of `rows` rows of at most `block` columns in registers, or, with rows = 0, each row `block` columns
    at a time, in `parts` programs of `part` columns; `warps` warps to a program.
    """

    block: int
    warps: int
    rows: int = 0
    parts: int = 1
    part: int = 0


def plan(length: int, *, centre: bool, processors: int) -> Plan:
    """The launch for rows of that length on a device with so many multiprocessors."""
    block = max(16, triton.next_power_of_2(length))
    if block <= 1024:
        return Plan(block, warps=1, rows=max(1, 512 // block))
    parts = triton.cdiv(length, 16384)
    if length > 32768 and parts <= min(exchange.MOST_PARTS, processors) and not _INTERPRETED:
        return Plan(4096, warps=16, parts=parts, part=16384)
    warps = min(16, block // 1024)
    return Plan(256 * warps, warps)


def _rows(
    x: Any,
    weight: Any,
    bias: Any,
    eps: float,
    axis: int,
    *,
    centre: bool = False,
    twice: bool = False,
    offset: float = 0.0,
) -> Any:
    rows = last(x, axis)
    scale, shift = _vector(weight, "weight", rows), _vector(bias, "bias", rows)
    y = torch.empty_like(rows)
    if y.numel():
        length = rows.shape[-1]
        count = rows.numel() // length
        options = (float(eps), offset, centre, twice, _type(scale), _type(shift))
        chosen, launch = _launch(length, rows.dtype, count >= 2**31, rows.device, options)
        # A kernel without a weight or bias never reads through that pointer.
        operands = (rows, rows if scale is None else scale, rows if shift is None else shift, y)
        with on_device_of(rows):
            if chosen.rows:
                launch(-(-count // chosen.rows), *operands, count, length)
            else:
                scratch = rows
                if chosen.parts > 1:
                    scratch = exchange.scratch(2 * count, chosen.parts, rows.device)
                launch(count * chosen.parts, *operands, scratch, count, length, chosen.parts)
    return y if axis in (-1, x.ndim - 1) else y.movedim(-1, axis)


def _type(vector: Any) -> Any:
    return None if vector is None else vector.dtype


@functools.lru_cache(maxsize=1024)
def _launch(
    length: int, dtype: Any, many: bool, device: Any, options: tuple[Any, ...]
) -> tuple[Plan, Launch]:
    """The plan for rows of that length and its kernel; `many` only tells them apart."""
    eps, offset, centre, twice, scale, shift = options
    processors = 1
    if device.type == "cuda":
        processors = torch.cuda.get_device_properties(device).multi_processor_count
    chosen = plan(length, centre=centre, processors=processors)
    constants = {
        "EPS": eps,
        "OFFSET": offset,
        "CENTRE": centre,
        "TWICE": twice,
        "SCALE": scale is not None,
        "SHIFT": shift is not None,
        "EVEN": length % chosen.block == 0,
        "BLOCK": chosen.block,
    }
    if chosen.rows:
        step = max(16, 256 * chosen.warps // chosen.rows)
        constants |= {"ROWS": chosen.rows, "STEP": step, "RELOAD": True}
        return chosen, Launch(norm_rows.tiles, warps=chosen.warps, **constants)
    constants |= {"PART": chosen.part, "WIDTH": triton.next_power_of_2(chosen.parts)}
    return chosen, Launch(norm_rows.streams, warps=chosen.warps, **constants)


def _vector(values: Any, name: str, rows: Any) -> Any:
    if values is None:
        return None
    if not is_tensor(values):
        values = torch.from_numpy(unwrap(values, name).values.astype("float64"))
    vector = without_gradients(values, name).to(rows.device)
    if vector.shape != rows.shape[-1:]:
        shape = tuple(vector.shape)
        raise BadInput(
            f"{name} has shape {shape}: pass one of shape ({rows.shape[-1]},), the normalised axis"
        )
    return packed(vector)
