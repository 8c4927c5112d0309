"""layer_norm and rms_norm of CUDA tensors: checks, layout, and which kernel takes rows of a length."""

# mypy: disable-error-code="import-untyped"

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import triton

from mfi_command import BadInput
from stable_ops.arrays import is_tensor, unwrap, without_gradients
from stable_ops.ops.triton import exchange, norm_rows, norm_teams
from stable_ops.ops.triton.launch import Launch
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

    Tiles of `rows` rows of at most `block` columns in registers, `again` read for their second use; or rows
    in `parts` programs of `block` columns; or, with neither, each row `block` columns at a time. `warps`
    warps to a program, `registers` for each thread.
    """

    block: int
    warps: int
    rows: int = 0
    parts: int = 1
    registers: int | None = None
    again: bool = False

    @property
    def resident(self) -> int:
        """Programs that a multiprocessor holds at once, of those that stay until all rows are done."""
        return min(32, 2**16 // (32 * self.warps * (self.registers or 128)))


# Tiles of short rows: rows, registers, whether they are read again instead of kept; by the length of a block.
_SHORT = {
    False: {128: (4, 128, True), 256: (2, 128, False), 512: (1, 128, False)},
    True: {128: (8, 168, True), 256: (4, 248, False), 512: (1, 128, False)},
}


def plan(length: int, *, centre: bool, processors: int) -> Plan:
    """The launch for rows of that length on a device with so many multiprocessors."""
    block = max(16, triton.next_power_of_2(length))
    if block <= 512:
        rows, registers, again = _SHORT[centre][max(128, block)]
        rows *= min(2, max(1, 128 // block))
        return Plan(block, warps=1, rows=rows, registers=registers, again=again)
    part = 4096 if block <= 2**17 else 8192
    parts = triton.cdiv(length, part)
    if length > 32768 and not centre and parts <= min(exchange.MOST_PARTS, processors) and not _INTERPRETED:
        return Plan(part, warps=part // 1024, parts=parts, registers=128)
    if centre:
        warps = min(16, max(1, block // 1024))
        return Plan(256 * warps, warps, registers=64)
    if block == 1024:
        return Plan(512, warps=2, registers=40)
    warps = min(16, block // 1024)
    return Plan((512 if block <= 4096 else 256) * warps, warps)


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
    size = rows.numel()
    if size:
        length = rows.shape[-1]
        count = size // length
        # A kernel without a weight or bias never reads through that pointer.
        w, b = rows if scale is None else scale, rows if shift is None else shift
        kinds = (rows.dtype, w.dtype, b.dtype, scale is None, shift is None, count >= 2**31)
        call = _call(length, rows.device, kinds, eps, offset, centre, twice)
        with on_device_of(rows):
            call(count, rows, w, b, y)
    return y if axis in (-1, x.ndim - 1) else y.movedim(-1, axis)


def _unit(length: int) -> int:
    """What the kernels are told the length is divisible by; from 8 on, 16 bytes are read at once."""
    return 16 if length % 16 == 0 else 8 if length % 8 == 0 else 1


def _teams(count: int, most: int) -> int:
    """As few as take no more rounds than the most would."""
    rounds = -(-count // max(1, most))
    return -(-count // rounds)


@functools.lru_cache(maxsize=1024)
def _call(
    length: int, device: Any, kinds: tuple[Any, ...], eps: float, offset: float, centre: bool, twice: bool
) -> Callable[..., None]:
    """What computes any number of rows of that length; some of `kinds` only tells kernels apart."""
    processors = (
        torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1
    )
    chosen = plan(length, centre=centre, processors=processors)
    unit = _unit(length)
    units = length // unit
    constants: dict[str, Any] = {
        "EPS": float(eps),
        "OFFSET": offset,
        "CENTRE": centre,
        "TWICE": twice,
        "SCALE": not kinds[3],
        "SHIFT": not kinds[4],
        "UNIT": unit,
        "EVEN": length % chosen.block == 0,
        "BLOCK": chosen.block,
    }
    settings: dict[str, Any] = {"warps": chosen.warps, "registers": chosen.registers}
    resident = processors * chosen.resident
    if chosen.rows:
        step = max(16, 256 * chosen.warps // chosen.rows)
        constants |= {"ROWS": chosen.rows, "STEP": step, "RELOAD": chosen.again}
        tiles = Launch(norm_rows.tiles, **settings, **constants)
        return lambda count, *operands: tiles(
            min(-(-count // chosen.rows), resident), *operands, count, units
        )
    if chosen.parts == 1:
        streams = Launch(norm_rows.streams, **settings, **constants)
        return lambda count, *operands: streams(count, *operands, count, units)
    parts = chosen.parts
    constants |= {"STEP": 256 * chosen.warps, "WIDTH": triton.next_power_of_2(parts)}
    in_teams = Launch(norm_teams.in_teams, **settings, **constants)

    def shared(count: int, *operands: Any) -> None:
        teams = _teams(count, resident // parts)
        scratch = exchange.scratch(2 * count, parts, device)
        in_teams(teams * parts, *operands, scratch, count, units, parts, teams)

    return shared


def _vector(values: Any, name: str, rows: Any) -> Any:
    if values is None:
        return None
    if not is_tensor(values):
        values = torch.from_numpy(unwrap(values, name).values.astype("float64"))
    if values.requires_grad:
        values = without_gradients(values, name)
    if values.device != rows.device:
        values = values.to(rows.device)
    if values.ndim != 1 or len(values) != rows.shape[-1]:
        shape = tuple(values.shape)
        raise BadInput(
            f"{name} has shape {shape}: pass one of shape ({rows.shape[-1]},), the normalised axis"
        )
    return packed(values)
