"""layer_norm and rms_norm of CUDA tensors: checks, layout, and which kernel takes rows of a length."""

# mypy: disable-error-code="import-untyped"

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import triton

from mfi_command import BadInput
from stable_ops.arrays import is_tensor, unwrap, without_gradients
from stable_ops.ops.cuda.plans import norms as clusters
from stable_ops.ops.cuda.rows import available
from stable_ops.ops.cuda.rows import norms as in_clusters
from stable_ops.ops.triton import exchange, norm_fours, norm_rows, norm_streams, norm_teams
from stable_ops.ops.triton.launch import Launch
from stable_ops.ops.triton.norm_plan import INTERPRETED, Plan, plan
from stable_ops.ops.triton.rows import last, on_device_of, packed


def layer_norm(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """`stable_ops.layer_norm` of a CUDA tensor."""
    return _rows(x, weight, bias, eps, axis, centre=True)


def rms_norm(x: Any, weight: Any, *, eps: float, form: str, axis: int, offset: float = 0.0) -> Any:
    """`stable_ops.rms_norm` of a CUDA tensor; `offset` is added to each weight."""
    return _rows(x, weight, None, eps, axis, twice=form == "hf", offset=offset)


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
    fours = _in_fours(length, kinds, offset, twice)
    form = {"centre": centre, "twice": twice, "scale": not kinds[3], "shift": not kinds[4]}
    if fours and available(device) and (shared := clusters(length, centre=centre)):
        return in_clusters(
            shared, length, device, bf16=kinds[0] == torch.bfloat16, eps=float(eps), offset=offset, **form
        )
    chosen = plan(length, centre=centre, processors=processors, fours=fours)
    constants = {
        "EPS": float(eps),
        "OFFSET": offset,
        **{name.upper(): value for name, value in form.items()},
    }
    return launched(chosen, length, device, processors, constants)


def launched(
    chosen: Plan, length: int, device: Any, processors: int, constants: dict[str, Any]
) -> Callable[..., None]:
    """What computes rows as a plan says."""
    if chosen.fours:
        return _fours(chosen, length, device, constants)
    unit = _unit(length)
    units = length // unit
    constants = constants | {"UNIT": unit, "EVEN": length % chosen.block == 0, "BLOCK": chosen.block}
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


def _in_fours(length: int, kinds: tuple[Any, ...], offset: float, twice: bool) -> bool:
    """Whether x is of 16 bits, weight and bias of the same format, and rows are whole fours."""
    alike = kinds[0] == kinds[1] == kinds[2] and kinds[0].itemsize == 2
    # The last rounding would be of a product that float32 does not hold.
    return alike and length % 4 == 0 and not (twice and offset) and not INTERPRETED


def _fours(chosen: Plan, length: int, device: Any, constants: dict[str, Any]) -> Callable[..., None]:
    """What computes rows four numbers at a time."""
    block, rows, parts = chosen.block // 4, chosen.rows, chosen.parts
    unit = _unit(length // 4)
    units = length // 4 // unit
    inverse = int(np.float64(1 / length).view(np.int64))
    constants = constants | {"UNIT": unit, "EVEN": length % chosen.block == 0, "BLOCK": block, "ROWS": rows}
    constants["STEP"] = max(16, 256 * chosen.warps // rows)
    settings: dict[str, Any] = {"warps": chosen.warps, "registers": chosen.registers}
    if chosen.block * parts < length:
        twice = Launch(norm_streams.fours_twice, **settings, **constants)
        return lambda count, *operands: twice(-(-count // rows), *operands, count, units, inverse)
    constants["WIDTH"] = triton.next_power_of_2(parts)
    once = Launch(norm_fours.in_fours, **settings, **constants)

    def start(count: int, x: Any, *others: Any) -> None:
        groups = -(-count // rows)
        # Without parts nothing is exchanged, and any pointer will do.
        scratch = x if parts == 1 else exchange.scratch(2 * groups * rows, parts, device)
        once(groups * parts, x, *others, scratch, count, units, inverse, 0, parts)

    return start


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
