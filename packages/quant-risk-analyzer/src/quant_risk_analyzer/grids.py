"""The points that a block of weights can be rounded to: equally spaced, floating-point, or from a table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np

from mfi_command import BadInput
from quant_risk_analyzer.formats import (
    FloatFormat,
    IntegerFormat,
    KFormat,
    MicroFormat,
    NumberFormat,
    TableFormat,
    namespace,
)


class Grid(Protocol):
    """One set of points per block; `scale` has the shape (rows, blocks, 1)."""

    @property
    def scale(self) -> Any:
        """Distance of the points that code 1 and code 0 stand for, or what the table is multiplied with."""
        ...

    @property
    def signed_codes(self) -> bool:
        """Whether codes are int8, and not uint8."""
        ...

    def encode(self, blocks: Any) -> Any:
        """Nearest codes, ties to the even code, shape of `blocks`."""
        ...

    def decode(self, codes: Any) -> Any:
        """The values that codes stand for."""
        ...

    def nearest(self, blocks: Any) -> Any:
        """`decode(encode(blocks))`."""
        ...


@dataclass(frozen=True)
class LinearGrid:
    """Equally spaced points `(code - zero) * scale`."""

    scale: Any
    zero: Any | None
    low: int
    high: int

    @property
    def signed_codes(self) -> bool:
        """Codes are counted from 0 where there is a zero point."""
        return self.zero is None

    def encode(self, blocks: Any) -> Any:
        """Nearest codes, as floating numbers."""
        xp = namespace(blocks)
        shifted = blocks / self.scale if self.zero is None else blocks / self.scale + self.zero
        return xp.clip(xp.round(shifted), self.low, self.high)

    def decode(self, codes: Any) -> Any:
        """The values that codes stand for."""
        return (codes if self.zero is None else codes - self.zero) * self.scale

    def nearest(self, blocks: Any) -> Any:
        """The nearest points."""
        return self.decode(self.encode(blocks))


@dataclass(frozen=True)
class OffsetGrid:
    """Points `code * scale - offset` with an offset that is no multiple of the scale: GGUF's K formats."""

    scale: Any
    offset: Any
    high: int

    signed_codes = False

    def encode(self, blocks: Any) -> Any:
        """Nearest codes, as floating numbers."""
        xp = namespace(blocks)
        safe = xp.where(self.scale > 0, self.scale, xp.ones_like(self.scale))
        return xp.clip(xp.round((blocks + self.offset) / safe), 0, self.high)

    def decode(self, codes: Any) -> Any:
        """The values that codes stand for."""
        return codes * self.scale - self.offset

    def nearest(self, blocks: Any) -> Any:
        """The nearest points."""
        return self.decode(self.encode(blocks))


@dataclass(frozen=True)
class FloatGrid:
    """Numbers of a floating-point format times the scale; codes are their bit patterns."""

    scale: Any
    element: FloatFormat

    signed_codes = False

    def encode(self, blocks: Any) -> Any:
        """Bit patterns, as floating numbers."""
        xp = namespace(blocks)
        units, exponent, negative = self._units(blocks / self.scale)
        element = self.element
        # A subnormal has the exponent of the smallest normal number and fewer units than 2**mantissa_bits.
        magnitude = (exponent + element.bias - 1) * 2**element.mantissa_bits + units
        return magnitude + xp.where(negative, 2 ** (element.bits - 1), 0)

    def decode(self, codes: Any) -> Any:
        """The values that bit patterns stand for."""
        return _look_up(float_values(self.element), codes, self.scale) * self.scale

    def nearest(self, blocks: Any) -> Any:
        """The nearest points."""
        xp = namespace(blocks)
        units, exponent, negative = self._units(blocks / self.scale)
        magnitude = xp.ldexp(units, exponent - self.element.mantissa_bits)
        return xp.where(negative, -magnitude, magnitude) * self.scale

    def _units(self, x: Any) -> tuple[Any, Any, Any]:
        """Magnitude in units of the last place, exponent of the leading place, and sign."""
        xp, element = namespace(x), self.element
        magnitude = xp.clip(xp.abs(x), None, element.largest)
        exponent = xp.clip(xp.frexp(magnitude)[1] - 1, element.min_exponent, None)
        # frexp gives zero the exponent 0, which would make it a normal number.
        exponent = xp.where(magnitude > 0, exponent, element.min_exponent)
        # Scaled by a power of two: exact, so that one rounding is made, to even on a tie.
        units = xp.round(xp.ldexp(magnitude, element.mantissa_bits - exponent))
        return units, exponent, xp.signbit(x)


@dataclass(frozen=True)
class TableGrid:
    """Ascending levels times the scale; codes count the levels."""

    scale: Any
    levels: tuple[float, ...]

    signed_codes = False

    def encode(self, blocks: Any) -> Any:
        """Number of the nearest level; on a tie the lower one."""
        xp = namespace(blocks)
        table = np.asarray(self.levels)
        borders = (table[1:] + table[:-1]) / 2
        quotients = blocks / self.scale
        if xp.__name__ == "numpy":
            return np.searchsorted(borders.astype(quotients.dtype), quotients)
        return xp.searchsorted(
            xp.as_tensor(borders, dtype=quotients.dtype, device=blocks.device), quotients.contiguous()
        )

    def decode(self, codes: Any) -> Any:
        """The values that codes stand for."""
        return _look_up(np.asarray(self.levels), codes, self.scale) * self.scale

    def nearest(self, blocks: Any) -> Any:
        """The nearest points."""
        return self.decode(self.encode(blocks))


def absmax_grid(blocks: Any, kind: NumberFormat, *, symmetric: bool = True) -> Grid:
    """The grid that just reaches the largest weight of each block: nothing is clipped.

    MX clips up to an eighth of a binade by its rule for the scale; a zero point exists for integers only.
    """
    largest = _amax(namespace(blocks).abs(blocks))
    if not symmetric:
        return _asymmetric(blocks, kind)
    if isinstance(kind, MicroFormat):
        return FloatGrid(_micro_scale(largest, kind), kind.element)
    if isinstance(kind, KFormat):
        return _k_grid(blocks, kind)
    return scaled_grid(_positive(largest / reach(kind)), kind)


def scaled_grid(scale: Any, kind: NumberFormat) -> Grid:
    """The symmetric grid with these steps (rows, blocks, 1)."""
    if isinstance(kind, IntegerFormat):
        return LinearGrid(scale, None, -kind.limit, kind.limit)
    if isinstance(kind, FloatFormat):
        return FloatGrid(scale, kind)
    if isinstance(kind, TableFormat):
        return TableGrid(scale, kind.levels)
    raise BadInput(f"{kind.name} chooses its own scales: leave them out")


def reach(kind: NumberFormat) -> float:
    """Largest magnitude of the grid with the scale 1."""
    if isinstance(kind, IntegerFormat):
        return float(kind.limit)
    if isinstance(kind, FloatFormat):
        return kind.largest
    if isinstance(kind, TableFormat):
        return max(abs(level) for level in kind.levels)
    raise BadInput(f"{kind.name} chooses its own scales: leave them out")


def grid_of(blocks: Any, scales: Any, kind: NumberFormat) -> Grid:
    """The symmetric grid with given steps, shape (rows, blocks)."""
    xp = namespace(blocks)
    if tuple(scales.shape) != tuple(blocks.shape[:2]):
        raise BadInput(f"scales have shape {tuple(scales.shape)}: expected {tuple(blocks.shape[:2])}")
    if not bool((scales > 0).all()) or not bool(xp.isfinite(scales).all()):
        raise BadInput("scales must be positive and finite")
    return scaled_grid(scales[..., None], kind)


@cache
def float_values(element: FloatFormat) -> np.ndarray[Any, Any]:
    """Value of every bit pattern, float64; those beyond `largest` (NaN, infinity) stand as the largest."""
    codes = np.arange(2**element.bits)
    sign = np.where(codes >> (element.bits - 1), -1.0, 1.0)
    field = (codes >> element.mantissa_bits) & (2 ** (element.bits - 1 - element.mantissa_bits) - 1)
    fraction = codes & (2**element.mantissa_bits - 1)
    leading = np.where(field > 0, 2**element.mantissa_bits, 0)
    exponent = np.maximum(field, 1) - element.bias - element.mantissa_bits
    magnitude = np.minimum(np.ldexp((leading + fraction).astype(np.float64), exponent), element.largest)
    values: np.ndarray[Any, Any] = sign * magnitude
    return values


def _asymmetric(blocks: Any, kind: NumberFormat) -> LinearGrid:
    if not isinstance(kind, IntegerFormat):
        raise BadInput(f"{kind.name} has no zero point: expected symmetric=True")
    xp = namespace(blocks)
    top, bottom = xp.clip(_amax(blocks), 0, None), xp.clip(-_amax(-blocks), None, 0)
    # Divided before subtracting: the range of 3e38 and -3e38 is beyond float32.
    scale = _positive(top / kind.steps - bottom / kind.steps)
    return LinearGrid(scale, xp.clip(xp.round(-bottom / scale), 0, kind.steps), 0, kind.steps)


def _micro_scale(largest: Any, kind: MicroFormat) -> Any:
    """Scales of MX (OCP Microscaling Formats 1.0, section 6.3) or NVFP4."""
    xp = namespace(largest)
    one = xp.ones_like(largest)
    if kind.scale is None:
        top = int(np.frexp(kind.element.largest)[1])
        return xp.ldexp(one, xp.clip(xp.frexp(largest)[1] - top, -127, 127))
    # A number of the tensor's own dtype: float32 arithmetic stays in float32.
    tensor = largest.max() / (kind.element.largest * kind.scale.largest)
    if not bool(tensor > 0):
        return one
    local = FloatGrid(one, kind.scale).nearest(largest / (kind.element.largest * tensor))
    # A block far below the largest of the tensor has the scale 0: any that rounds all of it to 0 does.
    return xp.where(local > 0, local * tensor, _positive(kind.element.largest * 2 * largest))


def _k_grid(blocks: Any, kind: KFormat) -> OffsetGrid:
    """Scales and minima of the 8 blocks of 32 in each superblock, rounded to 6 bits; (rows, blocks, 256)."""
    xp = namespace(blocks)
    parts = blocks.reshape(*blocks.shape[:2], 8, 32)
    high = 2**kind.bits - 1
    lowest = xp.clip(-_amax(-parts), None, 0)
    steps = (xp.clip(_amax(parts), 0, None) - lowest) / high
    scale, offset = _six_bits(steps), _six_bits(-lowest)
    spread = xp.ones_like(parts)
    return OffsetGrid((scale * spread).reshape(blocks.shape), (offset * spread).reshape(blocks.shape), high)


def _six_bits(values: Any) -> Any:
    """Nonnegative values (rows, blocks, 8, 1) as 6-bit multiples of one float16 per superblock."""
    xp = namespace(values)
    unit = xp.amax(values, -2)[..., None, :] / 63
    if bool((unit > float(np.finfo(np.float16).max)).any()):
        raise BadInput("weights beyond the range of float16 scales: q4_k cannot hold them")
    half = unit.astype(xp.float16) if xp.__name__ == "numpy" else unit.to(xp.float16)
    unit = half.astype(values.dtype) if xp.__name__ == "numpy" else half.to(values.dtype)
    safe = xp.where(unit > 0, unit, xp.ones_like(unit))
    return xp.clip(xp.round(values / safe), 0, 63) * unit


def _look_up(table: np.ndarray[Any, Any], codes: Any, like: Any) -> Any:
    """Entries of the table in the type and dtype of `like`; codes may be floating numbers."""
    xp = namespace(codes)
    if xp.__name__ == "numpy":
        return table.astype(like.dtype)[np.asarray(codes).astype(np.intp)]
    return xp.as_tensor(table, dtype=like.dtype, device=codes.device)[codes.long()]


def _amax(values: Any) -> Any:
    xp = namespace(values)
    return xp.amax(values, -1)[..., None]


def _positive(scale: Any) -> Any:
    """A block of zeros, or of numbers so small that the step underflows, gets the step 1."""
    xp = namespace(scale)
    return xp.where(scale > 0, scale, xp.ones_like(scale))
