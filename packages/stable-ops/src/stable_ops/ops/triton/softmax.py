"""softmax, log_softmax and logsumexp of rows."""

# Triton carries no types.
# mypy: disable-error-code="no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import triton

from stable_ops.ops.cuda.plans import softmax as clusters
from stable_ops.ops.cuda.rows import available
from stable_ops.ops.cuda.rows import softmax as in_clusters
from stable_ops.ops.triton import exchange
from stable_ops.ops.triton.launch import Launch
from stable_ops.ops.triton.rows import last, on_device_of
from stable_ops.ops.triton.softmax_pairs import pairs_in_parts
from stable_ops.ops.triton.softmax_pieces import in_pieces
from stable_ops.ops.triton.softmax_plan import Plan, plan
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
    elif size := rows.numel():
        count = size // length
        call = _call(length, op, rows.dtype, rows.device, count >= 2**31)
        with on_device_of(rows):
            call(rows, y, count)
    return y if reduces or rows is x else y.movedim(-1, axis)


@functools.lru_cache(maxsize=1024)
def _call(length: int, op: int, dtype: Any, device: Any, many: bool) -> Callable[[Any, Any, int], None]:
    """What computes any number of rows of that length; `many` only tells kernels apart."""
    if op == SOFTMAX.value and dtype == torch.bfloat16 and available(device) and (shared := clusters(length)):
        return in_clusters(shared, length, device)
    wide, quick = dtype == torch.float32, dtype == torch.bfloat16
    chosen = plan(length, op, wide=wide, processors=_processors(device), quick=quick)
    return launched(chosen, length, op, dtype, device)


def launched(chosen: Plan, length: int, op: int, dtype: Any, device: Any) -> Callable[[Any, Any, int], None]:
    """What computes rows as a plan says."""
    kernel, constants = _kernel(chosen, length, op, dtype)
    launch = Launch(kernel, warps=chosen.warps, registers=chosen.registers, **constants)
    parts = chosen.parts
    if chosen.kind == "whole":
        return lambda x, y, count: launch(-(-count // chosen.rows), x, y, count, length)
    if chosen.kind == "pieces":
        return lambda x, y, count: launch(count, x, y, length)
    if chosen.kind == "sum":

        def add_up(x: Any, y: Any, count: int) -> None:
            scratch = exchange.scratch(count, parts, device)
            counters = torch.zeros(count, dtype=torch.int64, device=device)
            launch(count * parts, x, y, scratch, counters, parts, length)

        return add_up
    if chosen.pairs:

        def share(x: Any, y: Any, count: int) -> None:
            # One that waits may need the words of a second exchange.
            scratch = exchange.scratch(2 * count, parts, device)
            if length % 2 == 0:
                x, y = x.view(torch.int32), y.view(torch.int32)
                launch(count * parts, x, y, scratch, count, parts, length // 2)
            else:
                launch(count * parts, x, y, scratch, count, parts, length)

        return share

    def in_turn(x: Any, y: Any, count: int) -> None:
        teams = min(count, max(1, chosen.programs // parts))
        launch(teams * parts, x, y, exchange.scratch(count, parts, device), count, parts, teams, length)

    return in_turn


def _kernel(chosen: Plan, length: int, op: int, dtype: Any) -> tuple[Any, dict[str, Any]]:
    """The kernel, and its constants in the order of its parameters."""
    wide = dtype == torch.float32
    # float16 has less room for an error.
    group = {"GROUP": 4 if dtype == torch.float16 else 8}
    block = {"BLOCK": chosen.block}
    width = {"WIDTH": triton.next_power_of_2(chosen.parts)}
    even = {"EVEN": chosen.rows == 1 and chosen.parts * chosen.block == length}
    piece = {"PIECE": max(16, 32 * 8 * chosen.warps // chosen.rows)}
    first, typed = {"OP": op}, {"WIDE": wide, **group}
    if chosen.kind == "pieces":
        return in_pieces, first | block
    if chosen.kind == "sum":
        return sum_in_parts, typed | block | width | even | piece
    if chosen.kind == "whole":
        return whole, first | typed | block | {"ROWS": chosen.rows} | even | piece
    if chosen.pairs:
        pairs = {
            "PIECE": min(chosen.block // 2, 32 * 4 * chosen.warps),
            "BF16": dtype == torch.bfloat16,
            "ALIGNED": length % 2 == 0,
        }
        return pairs_in_parts, first | group | block | width | pairs
    return in_teams, first | block | width | even


@functools.cache
def _processors(device: Any) -> int:
    if device.type != "cuda":
        return 1
    count: int = torch.cuda.get_device_properties(device).multi_processor_count
    return count
