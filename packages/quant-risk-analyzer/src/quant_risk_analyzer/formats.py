"""Number formats of quantized weights, and the blocks of weights that share one scale."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from mfi_command import BadInput

Granularity = str | int
SCALE_BITS = 16  # runtimes store a scale as float16 or bfloat16


@dataclass(frozen=True)
class NumberFormat:
    """What all formats have.

    Attributes
    ----------
    name
        As in `FORMATS`.
    bits
        Of one code.
    """

    name: str
    bits: int

    @property
    def block(self) -> int | None:
        """Weights that share a scale where the format itself says so, and `granularity` does not."""
        return None


@dataclass(frozen=True)
class IntegerFormat(NumberFormat):
    """A signed integer of `bits` bits.

    The symmetric grid is `-limit ... limit`: the code `-2**(bits-1)` stays unused, as in GPTQ's and NVIDIA's
    weight formats, so that a weight and its negative lose the same. `int2` is therefore ternary. The
    asymmetric grid has all `2**bits` codes, counted from 0.
    """

    @property
    def limit(self) -> int:
        """Largest code of the symmetric grid, `2**(bits-1) - 1`."""
        return int(2 ** (self.bits - 1) - 1)

    @property
    def steps(self) -> int:
        """Number of steps of the asymmetric grid, `2**bits - 1`."""
        return int(2**self.bits - 1)


@dataclass(frozen=True)
class FloatFormat(NumberFormat):
    """A floating-point format with one scale per block, `max|w| / largest`: fp8, fp4.

    Finite numbers only: what lies beyond the largest becomes it. `bias` is subtracted from the stored
    exponent. Sources: OCP 8-bit Floating Point Specification, OCP Microscaling Formats 1.0.
    """

    mantissa_bits: int
    bias: int
    largest: float

    @property
    def min_exponent(self) -> int:
        """Exponent of the smallest normal number."""
        return 1 - self.bias


@dataclass(frozen=True)
class TableFormat(NumberFormat):
    """Any ascending levels with one scale per block, `max|w| / max|level|`: nf4."""

    levels: tuple[float, ...]


@dataclass(frozen=True)
class MicroFormat(NumberFormat):
    """Floats in blocks of fixed length with a narrow scale: MX (a power of two) and NVFP4 (e4m3).

    `scale` is the format of the scale, None for a power of two.
    """

    element: FloatFormat
    length: int
    scale: FloatFormat | None

    @property
    def block(self) -> int:
        """Length of a block."""
        return self.length


@dataclass(frozen=True)
class KFormat(NumberFormat):
    """Like GGUF's Q4_K: blocks of 32 with a scale and a minimum of 6 bits, 8 blocks share two float16."""

    @property
    def block(self) -> int:
        """Length of a superblock."""
        return 256


# The quantiles of a normal variable that Dettmers et al. (QLoRA, 2023, appendix E) print.
_NF4 = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)
E4M3 = FloatFormat("fp8_e4m3", 8, 3, 7, 448.0)
E5M2 = FloatFormat("fp8_e5m2", 8, 2, 15, 57344.0)
E2M1 = FloatFormat("fp4_e2m1", 4, 1, 1, 6.0)
FORMATS: dict[str, NumberFormat] = {
    **{f"int{bits}": IntegerFormat(f"int{bits}", bits) for bits in (2, 3, 4, 5, 6, 7, 8)},
    **{each.name: each for each in (E4M3, E5M2, E2M1)},
    "nf4": TableFormat("nf4", 4, _NF4),
    "mxfp8_e4m3": MicroFormat("mxfp8_e4m3", 8, E4M3, 32, None),
    "mxfp8_e5m2": MicroFormat("mxfp8_e5m2", 8, E5M2, 32, None),
    "mxfp4": MicroFormat("mxfp4", 4, E2M1, 32, None),
    "nvfp4": MicroFormat("nvfp4", 4, E2M1, 16, E4M3),
    "q4_k": KFormat("q4_k", 4),
}
_OTHER_NAMES = {
    "fp8": "fp8_e4m3",
    "fp8_e4m3fn": "fp8_e4m3",
    "fp4": "fp4_e2m1",
    "mxfp8": "mxfp8_e4m3",
    "mxfp4_e2m1": "mxfp4",
}


def format_named(name: str) -> NumberFormat:
    """The format called `name` (fp8 is fp8_e4m3); BadInput, with the nearest name, when there is none."""
    key = name.strip().lower().replace("-", "_")
    known = FORMATS.get(_OTHER_NAMES.get(key, key))
    if known is None:
        near = difflib.get_close_matches(key, [*FORMATS, *_OTHER_NAMES], n=1)
        advice = f"did you mean {near[0]}?" if near else f"choose from {', '.join(FORMATS)}"
        raise BadInput(f"unknown number format {name!r}: {advice}")
    return known


def integer_format(format: str | NumberFormat, does: str) -> IntegerFormat:
    """The integer format of that name; BadInput for another kind."""
    kind = format_named(format) if isinstance(format, str) else format
    if not isinstance(kind, IntegerFormat):
        raise BadInput(f"{does} needs an integer format (int2 ... int8), not {kind.name}")
    return kind


def formats_named(names: Any) -> tuple[NumberFormat, ...]:
    """Several formats, from a list of names or one comma-separated string; duplicates are refused."""
    parts = names.split(",") if isinstance(names, str) else list(names)
    found = tuple(format_named(part) for part in parts)
    if not found:
        raise BadInput(f"no number format given: choose from {', '.join(FORMATS)}")
    if len({each.name for each in found}) < len(found):
        raise BadInput(f"a number format is named twice in {','.join(each.name for each in found)}")
    return found


def namespace(array: Any) -> ModuleType:
    """numpy or torch, whichever the array belongs to; torch is not imported for a numpy array."""
    import numpy

    if isinstance(array, numpy.ndarray):
        return numpy
    if type(array).__module__.partition(".")[0] == "torch":
        import torch

        return torch
    raise BadInput(f"expected a numpy array or a torch tensor, got {type(array).__name__}")


def block_length(granularity: Granularity, inputs: int) -> int:
    """How many neighbours along the input axis share a scale, for a weight with `inputs` columns."""
    if granularity == "channel":
        return inputs
    if isinstance(granularity, int) and not isinstance(granularity, bool) and granularity > 0:
        return min(granularity, inputs)
    if isinstance(granularity, str) and granularity.isdecimal() and int(granularity) > 0:
        return min(int(granularity), inputs)
    raise BadInput(f"granularity {granularity!r}: expected 'tensor', 'channel' or a group size such as 128")


def bits_per_weight(
    kind: NumberFormat, shape: tuple[int, ...], granularity: Granularity, *, symmetric: bool = True
) -> float:
    """Codes, scales of 16 bits and zero points as wide as a code, divided by the number of weights.

    A format with its own blocks: MX 8 bits for 32, NVFP4 8 for 16 and 32 for the tensor, Q4_K 4.5 in all.
    """
    rows, columns = shape[0] if len(shape) > 1 else 1, math.prod(shape[1:]) if len(shape) > 1 else shape[0]
    weights = rows * columns
    if isinstance(kind, KFormat):
        return kind.bits + (8 * 12 + 2 * 16) * rows * -(-columns // kind.block) / weights
    if isinstance(kind, MicroFormat):
        per_tensor = 0 if kind.scale is None else 32
        return kind.bits + (8 * rows * -(-columns // kind.block) + per_tensor) / weights
    blocks = 1 if granularity == "tensor" else rows * -(-columns // block_length(granularity, columns))
    return kind.bits + (SCALE_BITS + (0 if symmetric else kind.bits)) * blocks / weights


def to_blocks(W: Any, granularity: Granularity) -> Any:
    """Cut `W` (out, ...) into blocks that share a scale: shape (rows, blocks, length).

    A ragged last block is filled up with zeros, which no scale rule here notices: zero is on every grid and
    in every range.
    """
    if granularity == "tensor":
        return W.reshape(1, 1, -1)
    rows = W.reshape(W.shape[0], -1) if W.ndim > 1 else W.reshape(1, -1)
    return _cut(rows, block_length(granularity, rows.shape[1]))


def format_blocks(W: Any, kind: NumberFormat, granularity: Granularity) -> Any:
    """`to_blocks`, with the blocks of the format where it has its own."""
    if kind.block is None:
        return to_blocks(W, granularity)
    return _cut(W.reshape(W.shape[0], -1) if W.ndim > 1 else W.reshape(1, -1), kind.block)


def _cut(rows: Any, length: int) -> Any:
    xp = namespace(rows)
    missing = -rows.shape[1] % length
    if missing:
        fill = xp.zeros_like(rows[:, :1]).repeat(missing, 1) if xp.__name__ == "numpy" else None
        fill = rows.new_zeros((rows.shape[0], missing)) if fill is None else fill
        rows = xp.concatenate([rows, fill], 1)
    return rows.reshape(rows.shape[0], -1, length)


def from_blocks(blocks: Any, shape: tuple[int, ...]) -> Any:
    """Undo `to_blocks`: drop the fill and give `shape` back."""
    rows = shape[0] if blocks.shape[0] > 1 and len(shape) > 1 else 1
    return blocks.reshape(rows, -1)[:, : math.prod(shape) // rows].reshape(shape)
