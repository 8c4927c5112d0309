"""softmax, log_softmax and logsumexp of rows."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import Any

import torch
import triton

from stable_ops.ops.triton import exchange
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


@functools.cache
def _plan(length: int, op: int, wide: bool, device: Any) -> Launch:
    return plan(length, op, wide=wide, processors=_processors(device))


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
    return y if reduces else y.movedim(-1, axis)


def _launch(x: Any, y: Any, count: int, length: int, op: int) -> None:
    wide = x.dtype == torch.float32
    launch = _plan(length, op, wide, x.device)
    if launch.parts == 0:
        in_pieces[(count,)](x, y, length, OP=op, BLOCK=launch.block, num_warps=launch.warps)
        return
    constants = {
        "WIDE": wide,
        # float16 has less room for an error.
        "GROUP": 4 if x.dtype == torch.float16 else 8,
        "BLOCK": launch.block,
        "num_warps": launch.warps,
    }
    if launch.parts == 1:
        even = launch.rows == 1 and launch.block == length
        piece = 256 * launch.warps // launch.rows
        whole[(triton.cdiv(count, launch.rows),)](
            x, y, count, length, OP=op, ROWS=launch.rows, EVEN=even, PIECE=max(16, piece), **constants
        )
        return
    parts = launch.parts
    constants["EVEN"] = parts * launch.block == length
    constants["WIDTH"] = triton.next_power_of_2(parts)
    scratch = exchange.scratch(count, parts, x.device)
    if op == LOGSUMEXP.value:
        counters = torch.zeros(count, dtype=torch.int64, device=x.device)
        piece = 256 * launch.warps
        sum_in_parts[(count * parts,)](x, y, scratch, counters, parts, length, PIECE=piece, **constants)
    else:
        teams = min(count, max(1, 2 * _processors(x.device) // parts))
        in_teams[(teams * parts,)](x, y, scratch, count, parts, teams, length, OP=op, **constants)
