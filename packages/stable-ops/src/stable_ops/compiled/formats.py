"""Rows of 16-bit codes as float32 numbers, and float64 results rounded once to float32 or to such codes.

A row of float32 is used where it lies. The functions are chosen by the dtype of the array when a loop is
compiled; `kind` tells the two 16-bit formats apart when it runs.
"""

# mypy: disable-error-code="untyped-decorator, no-untyped-call, no-untyped-def, no-any-return"

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from stable_ops.compiled.bits import bits_of, loop, number_of

FLOAT32, BFLOAT16, FLOAT16 = 0, 1, 2

_SIZE, _SIGN = 0x7FF0000000000000, -0x8000000000000000
# 1.5 * 2^52 units in the last place, as exponent and bits of a number whose exponent is added.
_HALF = 1 << 51


def widened(row: Any, spare: Any, kind: Any) -> Any:
    """The row as float32 numbers, in `spare` if it holds codes."""


def target(row: Any, spare: Any) -> Any:
    """Where to put results of `rounded` for this row."""


def rounded(y: Any, row: Any, kind: Any) -> Any:
    """A float64 number rounded once to the format of the row, as a float32 number."""


def stored(results: Any, row: Any, kind: Any) -> None:
    """Results of `rounded` into the row, if it holds codes."""


def spare_numbers(codes: Any, length: Any) -> Any:
    """Room for that many float32 numbers, if these are codes."""


def _codes(row: Any) -> bool:
    return bool(row.dtype == types.uint16)


@overload(spare_numbers)
def _spare_numbers(codes, length):
    if _codes(codes):
        return lambda codes, length: np.empty(length, np.float32)
    return lambda codes, length: np.empty(0, np.float32)


@overload(widened)
def _widened(row, spare, kind):
    if _codes(row):
        return lambda row, spare, kind: _decode(row, spare, kind)
    return lambda row, spare, kind: row


@overload(target)
def _target(row, spare):
    if _codes(row):
        return lambda row, spare: spare
    return lambda row, spare: row


@overload(rounded)
def _rounded(y, row, kind):
    if _codes(row):
        return lambda y, row, kind: np.float32(_nearest(y, kind))
    return lambda y, row, kind: np.float32(y)


@overload(stored)
def _stored(results, row, kind):
    if _codes(row):
        return lambda results, row, kind: _encode(results, row, kind)
    return lambda results, row, kind: None


@loop
def _decode(codes: Any, x: Any, kind: Any) -> Any:
    if kind == BFLOAT16:
        for j in range(len(codes)):
            x[j] = number_of(np.int32(np.int32(codes[j]) << np.int32(16)))
        return x
    for j in range(len(codes)):
        code = np.int32(codes[j])
        size = np.int32(code & np.int32(0x7FFF))
        sign = np.int32((code & np.int32(0x8000)) << np.int32(16))
        # The exponent's bias goes by a product, which normalises subnormal numbers too.
        finite = bits_of(np.float32(number_of(np.int32(size << np.int32(13))) * np.float32(2.0**112)))
        special = np.int32(np.int32(0x7F800000) | np.int32(size << np.int32(13)))
        x[j] = number_of(np.int32(sign | (special if size >= np.int32(0x7C00) else finite)))
    return x


@loop
def _nearest(y: Any, kind: Any) -> Any:
    """Ties to even, subnormal numbers kept: a sum with a number so large that its units are the format's."""
    digits, lowest = (7, 2.0**-126) if kind == BFLOAT16 else (10, 2.0**-14)
    size = abs(y)
    unit = number_of((bits_of(max(size, lowest)) & _SIZE) + ((52 - digits) << 52) + _HALF)
    return number_of(bits_of((size + unit) - unit) | (bits_of(y) & _SIGN))


@loop
def _encode(results: Any, codes: Any, kind: Any) -> None:
    if kind == BFLOAT16:
        for j in range(len(codes)):
            codes[j] = np.uint16(bits_of(results[j]) >> np.int32(16))
        return
    for j in range(len(codes)):
        bits = bits_of(results[j])
        size = np.int32(bits & np.int32(0x7FFFFFFF))
        normal = np.int32(np.int32(size - np.int32(112 << 23)) >> np.int32(13))
        subnormal = np.int32(abs(results[j]) * np.float32(2.0**24))
        code = subnormal if size < np.int32(113 << 23) else min(normal, np.int32(0x7C00))
        code = np.int32(0x7E00) if size > np.int32(0x7F800000) else code
        codes[j] = np.uint16(code | ((bits >> np.int32(16)) & np.int32(0x8000)))
