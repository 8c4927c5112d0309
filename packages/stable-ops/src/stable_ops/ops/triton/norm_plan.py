"""How the kernels of layer_norm and rms_norm are launched, by the length of the rows.

Chosen by timing (`benchmarks/tune.py`); nothing depends on how many rows there are.
"""

# mypy: disable-error-code="import-untyped"

from __future__ import annotations

import os
from dataclasses import dataclass

import triton

from stable_ops.ops.triton import exchange

# The interpreter runs programs one after the other, so a row has to be one program's.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


@dataclass(frozen=True)
class Plan:
    """How rows of a length are computed; nothing in it that bits depend on follows from how many there are.

    Tiles of `rows` rows of at most `block` columns in registers, `again` read for their second use; or rows
    in `parts` programs of `block` columns; or, with neither, each row `block` columns at a time. With `fours`
    all three, of 16-bit numbers that are kept four to an int64: tiles where a block holds a row, `rows` rows
    a block at a time where it does not. `warps` warps to a program, `registers` for each thread.
    """

    block: int
    warps: int
    rows: int = 0
    parts: int = 1
    registers: int | None = None
    again: bool = False
    fours: bool = False

    @property
    def resident(self) -> int:
        """Programs that a multiprocessor holds at once, of those that stay until all rows are done."""
        return min(32, 2**16 // (32 * self.warps * (self.registers or 128)))


# Tiles of short rows: rows, registers, whether they are read again instead of kept; by the length of a block.
_SHORT = {
    False: {128: (4, 128, True), 256: (2, 128, False), 512: (1, 128, False)},
    True: {128: (8, 168, True), 256: (4, 248, False), 512: (1, 128, False)},
}


# The same for 16-bit rows in fours: rows, warps, registers.
_FOURS = {
    False: {128: (16, 2, 128), 256: (4, 1, 96), 512: (4, 1, 96), 1024: (2, 1, 128)},
    True: {128: (8, 1, 128), 256: (4, 1, 96), 512: (2, 1, 96), 1024: (2, 1, 128)},
}
# Up to here a row is kept in registers, 64 numbers to a thread; up to there it is read twice by one program,
# and from there on by several that keep it, which with a mean takes longer.
_KEPT = {False: 16384, True: 8192}
_READ_TWICE = {False: 65536, True: 2**62}


def plan(length: int, *, centre: bool, processors: int, fours: bool = False) -> Plan:
    """The launch for rows of that length on a device with so many multiprocessors.

    `fours` if they are of 16 bits, their length is a multiple of four, and weight and bias are like them.
    """
    return _fours(length, centre, processors) if fours else _any(length, centre, processors)


def _fours(length: int, centre: bool, processors: int) -> Plan:
    block = max(128, triton.next_power_of_2(length))
    if block <= 1024:
        rows, warps, registers = _FOURS[centre][block]
        return Plan(block, warps, rows=rows, registers=registers, fours=True)
    if block <= _KEPT[centre]:
        return Plan(block, warps=block // 2048, rows=1, registers=128, fours=True)
    part = 4096 if block <= 4096 * exchange.MOST_PARTS else 8192
    parts = triton.cdiv(length, part)
    if length <= _READ_TWICE[centre] or parts > min(exchange.MOST_PARTS, processors):
        warps = min(32, block // 2048)
        return Plan(512 * warps, warps, rows=1, registers=64, fours=True)
    return Plan(part, warps=part // 2048, rows=1, parts=parts, registers=96, fours=True)


def _any(length: int, centre: bool, processors: int) -> Plan:
    """For numbers of any format, in float64 throughout."""
    block = max(16, triton.next_power_of_2(length))
    if block <= 512:
        rows, registers, again = _SHORT[centre][max(128, block)]
        rows *= min(2, max(1, 128 // block))
        return Plan(block, warps=1, rows=rows, registers=registers, again=again)
    part = 4096 if block <= 2**17 else 8192
    parts = triton.cdiv(length, part)
    if length > 32768 and not centre and parts <= min(exchange.MOST_PARTS, processors) and not INTERPRETED:
        return Plan(part, warps=part // 1024, parts=parts, registers=128)
    if centre:
        warps = min(16, max(1, block // 1024))
        return Plan(256 * warps, warps, registers=64)
    if block == 1024:
        return Plan(512, warps=2, registers=40)
    warps = min(16, block // 1024)
    return Plan((512 if block <= 4096 else 256) * warps, warps)
