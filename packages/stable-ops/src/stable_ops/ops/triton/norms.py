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
    """How rows of a length are computed; nothing in it that bits depend on follows from how many there are.

    Tiles of `rows` rows of at most `block` columns in registers, or, with rows = 0, each row `block` columns
    at a time, in `parts` programs of `part` columns. `warps` warps to a program, `resident` programs that a
    multiprocessor holds at once with `registers` for each thread.
    """

    block: int
    warps: int
    rows: int = 0
    parts: int = 1
    part: int = 0
    registers: int | None = None

    @property
    def resident(self) -> int:
        """Programs that a multiprocessor holds at once, of those that stay until all rows are done."""
        return min(32, 2**16 // (32 * self.warps * (self.registers or 128)))


def plan(length: int, *, centre: bool, processors: int) -> Plan:
    """The launch for rows of that length on a device with so many multiprocessors."""
    block = max(16, triton.next_power_of_2(length))
    if block <= 512:
        return Plan(block, warps=1, rows=max(1, 512 // block), registers=128)
    parts = triton.cdiv(length, 8192)
    if length > 32768 and parts <= min(exchange.MOST_PARTS, processors) and not _INTERPRETED:
        return Plan(2048, warps=8, parts=parts, part=8192, registers=80 if centre else 64)
    warps = min(16, block // (1024 if block > 1024 else 512))
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
        processors = _processors(rows.device)
        chosen, launch = _launch(length, rows.dtype, count >= 2**31, rows.device, processors, options)
        # A kernel without a weight or bias never reads through that pointer.
        operands = (rows, rows if scale is None else scale, rows if shift is None else shift, y)
        with on_device_of(rows):
            if chosen.rows:
                tiles = -(-count // chosen.rows)
                launch(min(tiles, processors * chosen.resident), *operands, count, length)
            elif chosen.parts == 1:
                launch(count, *operands, count, length)
            else:
                teams = _teams(count, processors * chosen.resident // chosen.parts)
                scratch = exchange.scratch(2 * count, chosen.parts, rows.device)
                launch(teams * chosen.parts, *operands, scratch, count, length, chosen.parts, teams)
    return y if axis in (-1, x.ndim - 1) else y.movedim(-1, axis)


def _teams(count: int, most: int) -> int:
    """As few as take no more rounds than the most would."""
    rounds = -(-count // max(1, most))
    return -(-count // rounds)


@functools.cache
def _processors(device: Any) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def _type(vector: Any) -> Any:
    return None if vector is None else vector.dtype


@functools.lru_cache(maxsize=1024)
def _launch(
    length: int, dtype: Any, many: bool, device: Any, processors: int, options: tuple[Any, ...]
) -> tuple[Plan, Launch]:
    """The plan for rows of that length and its kernel; `many` and the types only tell launches apart."""
    eps, offset, centre, twice, scale, shift = options
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
    kernel = norm_rows.streams
    if chosen.rows:
        kernel = norm_rows.tiles
        step = max(16, 256 * chosen.warps // chosen.rows)
        constants |= {"ROWS": chosen.rows, "STEP": step, "RELOAD": True}
    elif chosen.parts > 1:
        kernel = norm_rows.in_teams
        constants |= {"PART": chosen.part, "WIDTH": triton.next_power_of_2(chosen.parts)}
    return chosen, Launch(kernel, warps=chosen.warps, registers=chosen.registers, **constants)


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
