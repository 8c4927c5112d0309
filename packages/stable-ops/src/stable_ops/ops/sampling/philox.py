"""Philox4x32-10: a random number that is a function of a key and a counter, the same on every device."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UInt32 = NDArray[np.uint32]
Words = tuple[UInt32, UInt32, UInt32, UInt32]

# Salmon et al. (2011), table 2 and section 4.
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK = 0xFFFFFFFF
ROUNDS = 10
# A draw is an integer below 2^53, so that u = draw / 2^53 is a float64.
DRAW_BITS = 53


def philox(key: tuple[int, int], counter: Words) -> Words:
    """Ten rounds of Philox4x32 on arrays of counters.

    Examples
    --------
    >>> zero = np.zeros(1, np.uint32)
    >>> [hex(word[0]) for word in philox((0, 0), (zero, zero, zero, zero))]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    c0, c1, c2, c3 = counter
    for i in range(ROUNDS):
        k0, k1 = (np.uint32((key[j] + i * _WEYL[j]) & _MASK) for j in range(2))
        a, b = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = _high(b) ^ c1 ^ k0, _low(b), _high(a) ^ c3 ^ k1, _low(a)
    return c0, c1, c2, c3


def draws(seed: int, offset: int, stream: int, size: int) -> NDArray[np.int64]:
    """Integers below 2^53, shape (size,): 53 bits at the counters (i, offset, stream) under the key seed."""
    number = np.arange(size, dtype=np.uint32)
    words = (np.full_like(number, word) for word in (offset & _MASK, offset >> 32, stream))
    c1, c2, c3 = words
    low, high, _, _ = philox((seed & _MASK, seed >> 32), (number, c1, c2, c3))
    joined = (high.astype(np.uint64) << np.uint64(32)) | low
    return (joined >> np.uint64(64 - DRAW_BITS)).astype(np.int64)


def _high(product: NDArray[np.uint64]) -> UInt32:
    return (product >> np.uint64(32)).astype(np.uint32)


def _low(product: NDArray[np.uint64]) -> UInt32:
    return product.astype(np.uint32)
