"""softmax, log_softmax and logsumexp of rows."""

# Triton carries no types.
# mypy: disable-error-code="no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import Any

import torch
import triton

from stable_ops.ops.triton import exchange
from stable_ops.ops.triton.launch import start
from stable_ops.ops.triton.rows import last, on_device_of
from stable_ops.ops.triton.softmax_pieces import in_pieces
from stable_ops.ops.triton.softmax_rows import LOG_SOFTMAX, LOGSUMEXP, SOFTMAX, whole
from stable_ops.ops.triton.softmax_teams import in_teams, sum_in_parts

_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def softmax(x: Any, *, axis: int = -1) -> Any:
    """`stable_ops.softmax` of a CUDA tensor."""
    return _rows(x, axis, SOFTMAX.value)


def log_softmax(x: Any, *, axis: int = -1) -> Any:
    """`stable_ops.log_softmax` of a CUDA tensor."""
    return _rows(x, axis, LOG_SOFTMAX.value)


def logsumexp(x: Any, *, axis: int = -1) -> Any:
    """`stable_ops.logsumexp` of a CUDA tensor."""
    return _rows(x, axis, LOGSUMEXP.value)


@dataclass(frozen=True)
class Launch:
    """How rows of a length are computed; nothing in it depends on how many there are.

    `rows` rows of at most `block` elements to a program of `warps` warps; a row of `parts` blocks if that
    is more than 1, and of any number of blocks, read twice, if it is 0.
    """

    block: int
    warps: int
    rows: int = 1
    parts: int = 1


def plan(length: int, op: int, *, wide: bool, processors: int) -> Launch:
    """The launch for rows of that length on a device with so many multiprocessors."""
    block = max(16, triton.next_power_of_2(length))
    if _INTERPRETED or block <= (8192 if wide else 16384):
        # Elements of a thread: enough to hide the loads, few enough for two programs and more on a processor.
        held = 16 if block <= 4096 or wide else block // 256
        if op == LOGSUMEXP.value and not wide:
            held = 32 if block <= 4096 else block // 256
        rows = max(1, (2048 if wide or op == LOGSUMEXP.value else 4096) // block)
        return Launch(block, min(32, max(1, rows * block // (32 * held))), rows)
    block = max(4096 if wide else 8192, block // exchange.MOST_PARTS)
    held = 16 if wide else 32
    parts = triton.cdiv(length, block)
    if block > 1024 * held or parts > processors:
        return Launch(block=2048, warps=8, parts=0)
    return Launch(block, block // (32 * held), parts=parts)


@functools.cache
def _processors(device: Any) -> int:
    if device.type != "cuda":
        return 1
    count: int = torch.cuda.get_device_properties(device).multi_processor_count
    return count


@dataclass(frozen=True)
class _Kernel:
    """A kernel for the rows of a length, a dtype and a device, ready to start."""

    launch: Launch
    function: Any
    key: tuple[Any, ...]
    constants: dict[str, Any]


@functools.cache
def _kernel(length: int, op: int, dtype: Any, device: Any) -> _Kernel:
    wide = dtype == torch.float32
    launch = plan(length, op, wide=wide, processors=_processors(device))
    key = (length, op, dtype, device)
    if launch.parts == 0:
        return _Kernel(launch, in_pieces, key, {"OP": op, "BLOCK": launch.block})
    constants = {
        "WIDE": wide,
        # float16 has less room for an error.
        "GROUP": 4 if dtype == torch.float16 else 8,
        "BLOCK": launch.block,
    }
    piece = {"PIECE": max(16, 256 * launch.warps // launch.rows)}
    if launch.parts == 1:
        even = launch.rows == 1 and launch.block == length
        own = {"ROWS": launch.rows, "EVEN": even, **piece}
        return _Kernel(launch, whole, key, {"OP": op, **constants, **own})
    constants["WIDTH"] = triton.next_power_of_2(launch.parts)
    constants["EVEN"] = launch.parts * launch.block == length
    if op == LOGSUMEXP.value:
        return _Kernel(launch, sum_in_parts, key, {**constants, **piece})
    return _Kernel(launch, in_teams, key, {"OP": op, **constants})


def _rows(x: Any, axis: int, op: int) -> Any:
    rows = last(x, axis)
    length = rows.shape[-1]
    reduces = op == LOGSUMEXP.value
    y = rows.new_empty(rows.shape[:-1]) if reduces else torch.empty_like(rows)
    if length == 0:
        y = y.fill_(-torch.inf)
    elif y.numel():
        with on_device_of(rows):
            _launch(rows, y, rows.numel() // length, length, op)
    return y if reduces or rows is x else y.movedim(-1, axis)


def _launch(x: Any, y: Any, count: int, length: int, op: int) -> None:
    kernel = _kernel(length, op, x.dtype, x.device)
    parts = kernel.launch.parts
    arguments: tuple[Any, ...]
    if parts == 0:
        programs, arguments = count, (x, y, length)
    elif parts == 1:
        programs, arguments = -(-count // kernel.launch.rows), (x, y, count, length)
    elif op == LOGSUMEXP.value:
        counters = torch.zeros(count, dtype=torch.int64, device=x.device)
        programs = count * parts
        arguments = (x, y, exchange.scratch(count, parts, x.device), counters, parts, length)
    else:
        teams = min(count, max(1, 2 * _processors(x.device) // parts))
        programs = teams * parts
        arguments = (x, y, exchange.scratch(count, parts, x.device), count, parts, teams, length)
    start(kernel.function, kernel.key, programs, arguments, kernel.constants, num_warps=kernel.launch.warps)
