"""The bits of numbers inside compiled loops, and a sum whose order is free."""

# numba's decorators carry no types.
# mypy: disable-error-code="untyped-decorator, no-untyped-call"

from __future__ import annotations

from typing import Any

import numba
from numba import types
from numba.extending import intrinsic

# A product and a sum may become one operation; everything else stays as it is written.
loop = numba.njit(fastmath={"contract"}, error_model="numpy", nogil=True, cache=True)

_WIDTHS = {types.float32: types.int32, types.float64: types.int64}
_NUMBERS = {integer: number for number, integer in _WIDTHS.items()}


def _bits_of(context: Any, x: Any) -> Any:
    """The bits of a float32 or float64 number as an integer."""
    return _cast(x, _WIDTHS[x])


def _number_of(context: Any, bits: Any) -> Any:
    """The number with these 32 or 64 bits."""
    return _cast(bits, _NUMBERS[bits])


def _plus(context: Any, x: Any, y: Any) -> Any:
    """x + y in a sum that the compiler may take apart, to use the processor's vectors.

    Only this addition: elsewhere the order is part of the result.
    """

    def build(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.fadd(*arguments, flags=("reassoc",))

    return x(x, x), build


def _cast(given: Any, wanted: Any) -> Any:
    def build(target: Any, builder: Any, _: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], target.get_value_type(wanted))

    return wanted(given), build


# Called without the context, which numba fills in.
bits_of: Any = intrinsic(_bits_of)
number_of: Any = intrinsic(_number_of)
plus: Any = intrinsic(_plus)
