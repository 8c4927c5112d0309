"""Which kernel computes the softmax of rows of a length, and how it is launched.

Chosen by timing on an H100 (`stable-ops bench` shows what came of it); nothing depends on how many rows there
are.
"""

# Triton carries no types.
# mypy: disable-error-code="no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

import triton

from stable_ops.ops.triton import exchange
from stable_ops.ops.triton.softmax_rows import LOGSUMEXP, SOFTMAX

# The interpreter runs programs one after the other, so a row has to be one program's.
_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


@dataclass(frozen=True)
class Plan:
    """How rows of a length are computed.

    Attributes
    ----------
    kind
        "whole": `rows` rows of at most `block` elements to a program; "parts": `parts` programs of `block`
        elements share a row, and wait for each other; "sum": they do not wait; "pieces": a program reads a
        row twice, `block` elements at a time.
    pairs
        The numbers are kept as pairs of 16 bits.
    registers
        Of a thread, if limited.
    programs
        How many of those that share float32 rows there are at most.
    """

    kind: Literal["whole", "parts", "sum", "pieces"]
    block: int
    warps: int
    rows: int = 1
    parts: int = 1
    pairs: bool = False
    registers: int | None = None
    programs: int = 0


def plan(length: int, op: int, *, wide: bool, processors: int, quick: bool = False) -> Plan:
    """The launch for rows of that length on a device with so many multiprocessors.

    `quick` if the weights are the device's powers of 2, as those of bfloat16 are.
    """
    block = max(16, triton.next_power_of_2(length))
    if _INTERPRETED:
        return Plan("whole", block, warps=4, rows=max(1, 1024 // block))
    sums = op == LOGSUMEXP.value
    if block <= (8192 if wide else 16384):
        tile, warps = _tile(block, op, wide, quick)
        return Plan("whole", block, warps, rows=max(1, tile // block))
    size, warps = (4096, 8) if wide else (8192, 4)
    times = max(1, block // (exchange.MOST_PARTS * size))
    parts = triton.cdiv(length, size * times)
    # All parts of a row have to be there at once.
    if warps * times > 32 or parts > processors:
        return Plan("pieces", 2048, 8)
    if sums:
        return Plan("sum", size * times, warps * times, parts=parts)
    if wide:
        return Plan("parts", size * times, warps * times, parts=parts, programs=2 * processors)
    # The odd lengths are read a number at a time, which takes more registers.
    registers = None if length % 2 else 80 if times == 1 else 64
    return Plan("parts", size * times, warps * times, parts=parts, pairs=True, registers=registers)


def _tile(block: int, op: int, wide: bool, quick: bool) -> tuple[int, int]:
    """Elements of a program at least, and its warps: 16 to 64 elements to a thread, whichever is fastest."""
    if wide:
        return 1024, max(4, block // 512)
    if op == SOFTMAX.value and not quick:
        return 4096, 8
    if block <= 512:
        return 1024, 1
    return (2048, 2) if block <= 2048 else (4096, 4 if block <= 4096 else 8)
