"""A kernel that only reads: what a reduction's speed is judged by."""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

BLOCKS = ((4096, 4), (8192, 8), (16384, 8), (16384, 16))


def read(words: Any, out: Any, *, block: int, warps: int) -> None:
    """Largest of each `block` int32 words, of which there are a multiple of `block`."""
    _largest[(words.numel() // block,)](words, out, BLOCK=block, num_warps=warps)


@triton.jit
def _largest(words_ptr, out_ptr, BLOCK: tl.constexpr):
    program = tl.program_id(0).to(tl.int64)
    words = tl.load(words_ptr + program * BLOCK + tl.arange(0, BLOCK))
    tl.store(out_ptr + program, tl.max(words))
