"""softmax, log_softmax and logsumexp of rows."""

# Triton carries no types.
# mypy: disable-error-code="no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

import functools
from typing import Any

import torch
import triton

from stable_ops.ops.triton import exchange
from stable_ops.ops.triton.launch import start
from stable_ops.ops.triton.rows import last, on_device_of
from stable_ops.ops.triton.softmax_pairs import pairs_in_parts
from stable_ops.ops.triton.softmax_pieces import in_pieces
from stable_ops.ops.triton.softmax_plan import Launch, plan
from stable_ops.ops.triton.softmax_rows import LOG_SOFTMAX, LOGSUMEXP, SOFTMAX, whole
from stable_ops.ops.triton.softmax_teams import in_teams, sum_in_parts


def softmax(x: Any, *, axis: int = -1) -> Any:
    """`stable_ops.softmax` of a CUDA tensor."""
    return _rows(x, axis, SOFTMAX.value)


def log_softmax(x: Any, *, axis: int = -1) -> Any:
    """`stable_ops.log_softmax` of a CUDA tensor."""
    return _rows(x, axis, LOG_SOFTMAX.value)


def logsumexp(x: Any, *, axis: int = -1) -> Any:
    """`stable_ops.logsumexp` of a CUDA tensor."""
    return _rows(x, axis, LOGSUMEXP.value)


def _rows(x: Any, axis: int, op: int) -> Any:
    rows = last(x, axis)
    length = rows.shape[-1]
    reduces = op == LOGSUMEXP.value
    y = rows.new_empty(rows.shape[:-1]) if reduces else torch.empty_like(rows)
    if length == 0:
        y = y.fill_(-torch.inf)
    elif y.numel():
        with on_device_of(rows):
            _start(rows, y, rows.numel() // length, length, op)
    return y if reduces or rows is x else y.movedim(-1, axis)


def _start(x: Any, y: Any, count: int, length: int, op: int) -> None:
    launch, function, constants = _kernel(length, op, x.dtype, x.device)
    key = (length, op, x.dtype, x.device, count < 2**31)
    parts = launch.parts
    arguments: tuple[Any, ...]
    if launch.pairs and length % 2 == 0:
        x, y, length = x.view(torch.int32), y.view(torch.int32), length // 2
    if launch.kind == "whole":
        programs, arguments = -(-count // launch.rows), (x, y, count, length)
    elif launch.kind == "pieces":
        programs, arguments = count, (x, y, length)
    else:
        # One that waits may need the words of a second exchange.
        scratch = exchange.scratch((2 if launch.pairs else 1) * count, parts, x.device)
        programs = count * parts
        if launch.kind == "sum":
            counters = torch.zeros(count, dtype=torch.int64, device=x.device)
            arguments = (x, y, scratch, counters, parts, length)
        elif launch.pairs:
            arguments = (x, y, scratch, count, parts, length)
        else:
            teams = min(count, max(1, launch.programs // parts))
            programs = teams * parts
            arguments = (x, y, scratch, count, parts, teams, length)
    start(function, key, programs, arguments, constants, **launch.options)


@functools.cache
def _kernel(length: int, op: int, dtype: Any, device: Any) -> tuple[Launch, Any, dict[str, Any]]:
    """The launch for these rows, the kernel, and its constants in the order of its parameters."""
    wide = dtype == torch.float32
    # float16 has less room for an error.
    group = {"GROUP": 4 if dtype == torch.float16 else 8}
    launch = plan(length, op, wide=wide, processors=_processors(device))
    block = {"BLOCK": launch.block}
    width = {"WIDTH": triton.next_power_of_2(launch.parts)}
    pairs = {
        "PIECE": min(launch.block // 2, 32 * 4 * launch.warps),
        "BF16": dtype == torch.bfloat16,
        "ALIGNED": length % 2 == 0,
    }
    even = {"EVEN": launch.rows == 1 and launch.parts * launch.block == length}
    piece = {"PIECE": max(16, 32 * 8 * launch.warps // launch.rows)}
    first, typed = {"OP": op}, {"WIDE": wide, **group}
    if launch.kind == "pieces":
        return launch, in_pieces, first | block
    if launch.kind == "sum":
        return launch, sum_in_parts, typed | block | width | even | piece
    if launch.kind == "whole":
        return launch, whole, first | typed | block | {"ROWS": launch.rows} | even | piece
    if launch.pairs:
        return launch, pairs_in_parts, first | group | block | width | pairs
    return launch, in_teams, first | block | width | even


@functools.cache
def _processors(device: Any) -> int:
    if device.type != "cuda":
        return 1
    count: int = torch.cuda.get_device_properties(device).multi_processor_count
    return count
