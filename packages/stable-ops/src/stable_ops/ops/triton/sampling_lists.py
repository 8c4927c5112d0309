"""The lists of a row's candidates: programs append what they find, in any order."""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _quarters(x, HEIGHT: tl.constexpr, THREADS: tl.constexpr):
    """The four neighbours that a thread holds, as four tensors."""
    even, odd = tl.split(tl.reshape(x, [HEIGHT, THREADS, 2, 2]))
    first, third = tl.split(even)
    second, fourth = tl.split(odd)
    return first, second, third, fourth


@triton.jit
def append(
    x, place, low, high, list_ptr, counter_ptr, LIST: tl.constexpr, HEIGHT: tl.constexpr,
    THREADS: tl.constexpr,
):  # fmt: skip
    """Append the elements in [low, high) to a list, in any order; the counter counts even those beyond it."""
    a, b, c, d = _quarters(x, HEIGHT, THREADS)
    p, q, r, s = _quarters(place, HEIGHT, THREADS)
    in_a, in_b = (a >= low) & (a < high), (b >= low) & (b < high)
    in_c, in_d = (c >= low) & (c < high), (d >= low) & (d < high)
    at_b = in_a.to(tl.int32)
    at_c = at_b + in_b.to(tl.int32)
    at_d = at_c + in_c.to(tl.int32)
    count = at_d + in_d.to(tl.int32)
    # One request for the four.
    start = tl.atomic_add(counter_ptr + tl.zeros_like(count), count, mask=count > 0, sem="relaxed")
    _put(a, p, start, in_a, list_ptr, LIST)
    _put(b, q, start + at_b, in_b, list_ptr, LIST)
    _put(c, r, start + at_c, in_c, list_ptr, LIST)
    _put(d, s, start + at_d, in_d, list_ptr, LIST)


@triton.jit
def _put(x, place, spot, chosen, list_ptr, LIST: tl.constexpr):
    fits = chosen & (spot < LIST)
    tl.store(list_ptr + spot, x.to(tl.int32, bitcast=True), mask=fits)
    tl.store(list_ptr + LIST + spot, place, mask=fits)
