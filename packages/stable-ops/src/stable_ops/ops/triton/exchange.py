"""Long rows over several programs: each keeps its part in registers and tells the others what it found.

A program of part p of a row puts two 64-bit words into the row's scratch with `publish`, and reads those of
all parts with `collect`, which waits until they are there. A word carries its own sign of being there (an
empty one is 0), so nothing depends on the order of memory operations. Each program then combines the parts
by itself, in the same order, hence to the same bits.

A program waits only for programs of its row, and takes its place from a counter (`ticket`), not from its
index: whoever waits, waits for programs that have started or are next in line. So nothing hangs as long as
the device can hold the parts of one row at once. `scratch` gives the counter and the words, cleared, from the
caching allocator: each call has its own, on its own stream, and a captured graph clears them at each replay.

    scratch = exchange.scratch(rows, parts, device)
    kernel[(rows * parts,)](x, y, scratch, parts, ..., WIDTH=next_power_of_two(parts))

    # in the kernel
    row, part = ticket(scratch_ptr, parts)
    place = words(scratch_ptr, row, parts)
    publish(place, part, first, second, parts)      # scalars, float64 or int64 >= 0
    first, second = collect(place, parts, WIDTH)    # int64 (WIDTH,), 0 beyond `parts`; see as_double

The interpreter runs programs one after the other: there `parts` has to be 1.
"""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

# One load of a warp reads the words of all parts, and no barrier is in the loop that waits.
MOST_PARTS = 32


def scratch(rows: int, parts: int, device: Any) -> Any:
    """The counter and the words of a call, int64 zeros."""
    return torch.zeros(2 + 2 * rows * parts, dtype=torch.int64, device=device)


@triton.jit
def ticket(scratch_ptr, parts):
    """Row (int64) and part (int32) of this program: the next ones that nobody has taken."""
    place = tl.atomic_add(scratch_ptr, 1, sem="relaxed").to(tl.int32)
    return (place // parts).to(tl.int64), place % parts


@triton.jit
def words(scratch_ptr, row, parts):
    """Where the words of a row are."""
    return scratch_ptr + 2 + row * (2 * parts)


@triton.jit
def _to_word(value):
    # One more than the bits, so that 0 is left for empty; the NaN whose bits are -1 becomes another NaN.
    bits = value.to(tl.int64, bitcast=True)
    return tl.where(bits == -1, -2, bits) + 1


@triton.jit
def as_double(word):
    """The float64 that was published."""
    return word.to(tl.float64, bitcast=True)


@triton.jit
def publish(words_ptr, part, first, second, parts):
    """Two 64-bit scalars of this part, for the others."""
    tl.atomic_xchg(words_ptr + part, _to_word(first), sem="relaxed")
    tl.atomic_xchg(words_ptr + parts + part, _to_word(second), sem="relaxed")


@triton.jit
def collect(words_ptr, parts, WIDTH: tl.constexpr):
    """The words of all parts, in their order, as int64; waits for them."""
    part = tl.arange(0, WIDTH)
    there = part < parts
    first = tl.load(words_ptr + part, mask=there, other=1, volatile=True)
    second = tl.load(words_ptr + parts + part, mask=there, other=1, volatile=True)
    while tl.min(((first != 0) & (second != 0)).to(tl.int32), axis=0) == 0:
        first = tl.load(words_ptr + part, mask=there, other=1, volatile=True)
        second = tl.load(words_ptr + parts + part, mask=there, other=1, volatile=True)
    return first - 1, second - 1
