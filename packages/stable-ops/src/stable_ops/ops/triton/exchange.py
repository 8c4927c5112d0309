"""Long rows over several programs: each keeps its part in registers and tells the others what it found.

A program of row r and part p puts two 64-bit words into `words[r, :, p]` with `publish`, and reads those of all
parts of the row with `collect`, which waits until they are there. A word carries its own sign of being there (an
empty one is 0), so nothing depends on the order of memory operations. Each program then combines the parts by
itself, in the same order, hence to the same bits.

A program waits only for programs of the same row, and it takes its place from a counter (`ticket`), not from its
index: whoever waits, waits for programs that have started or are next in line. So nothing hangs as long as the
device can hold `parts` programs at once. `scratch` gives the words and the counter, cleared, from the caching
allocator: each call has its own, on its own stream, and a captured graph clears them again at each replay.

    scratch = exchange.scratch(rows, parts, device)
    kernel[(rows * parts,)](x, y, scratch, rows, ..., PARTS=parts)

    # in the kernel
    row, part = exchange.ticket(scratch_ptr, PARTS)
    words = exchange.words(scratch_ptr, row, PARTS)
    exchange.publish(words, part, first, second, PARTS)   # float64 scalars
    first, second = exchange.collect(words, PARTS)        # float64 (PARTS,)
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
def ticket(scratch_ptr, PARTS: tl.constexpr):
    """Row and part of this program: the next ones that nobody has taken."""
    place = tl.atomic_add(scratch_ptr, 1, sem="relaxed")
    return place // PARTS, place % PARTS


@triton.jit
def words(scratch_ptr, row, PARTS: tl.constexpr):
    """Where the words of a row are."""
    return scratch_ptr + 2 + row * (2 * PARTS)


@triton.jit
def _to_word(value):
    # One more than its bits, so that 0 is left for empty: no float64 but an odd NaN has the bits -1.
    return value.to(tl.int64, bitcast=True) + 1


@triton.jit
def _from_word(word):
    return (word - 1).to(tl.float64, bitcast=True)


@triton.jit
def publish(words_ptr, part, first, second, PARTS: tl.constexpr):
    """Two float64 of this part, for the others."""
    tl.atomic_xchg(words_ptr + part, _to_word(first), sem="relaxed")
    tl.atomic_xchg(words_ptr + PARTS + part, _to_word(second), sem="relaxed")


@triton.jit
def collect(words_ptr, PARTS: tl.constexpr):
    """The pairs of all parts, in their order; waits for them."""
    place = words_ptr + tl.arange(0, PARTS)
    first = tl.load(place, volatile=True)
    second = tl.load(place + PARTS, volatile=True)
    while tl.min(((first != 0) & (second != 0)).to(tl.int32), axis=0) == 0:
        first = tl.load(place, volatile=True)
        second = tl.load(place + PARTS, volatile=True)
    return _from_word(first), _from_word(second)
