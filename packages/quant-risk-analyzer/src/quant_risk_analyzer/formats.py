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
class IntegerFormat:
    """A signed integer of `bits` bits.

    The symmetric grid is `-limit ... limit`: the code `-2**(bits-1)` stays unused, as in GPTQ's and NVIDIA's
    weight formats, so that a weight and its negative lose the same. `int2` is therefore ternary. The
    asymmetric grid has all `2**bits` codes, counted from 0.
    """

    name: str
    bits: int

    @property
    def limit(self) -> int:
        """Largest code of the symmetric grid, `2**(bits-1) - 1`."""
        return int(2 ** (self.bits - 1) - 1)

    @property
    def steps(self) -> int:
        """Number of steps of the asymmetric grid, `2**bits - 1`."""
        return int(2**self.bits - 1)


FORMATS = {f"int{bits}": IntegerFormat(f"int{bits}", bits) for bits in (2, 3, 4, 5, 6, 7, 8)}


def format_named(name: str) -> IntegerFormat:
    """The format called `name`; BadInput, with the nearest name, when there is none."""
    known = FORMATS.get(name.strip().lower())
    if known is None:
        near = difflib.get_close_matches(name.lower(), FORMATS, n=1)
        advice = f"did you mean {near[0]}?" if near else f"choose from {', '.join(FORMATS)}"
        raise BadInput(f"unknown number format {name!r}: {advice}")
    return known


def formats_named(names: Any) -> tuple[IntegerFormat, ...]:
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
    kind: IntegerFormat, shape: tuple[int, ...], granularity: Granularity, *, symmetric: bool = True
) -> float:
    """Codes, scales of 16 bits and zero points as wide as a code, divided by the number of weights."""
    rows, columns = shape[0] if len(shape) > 1 else 1, math.prod(shape[1:]) if len(shape) > 1 else shape[0]
    blocks = 1 if granularity == "tensor" else rows * -(-columns // block_length(granularity, columns))
    return kind.bits + (SCALE_BITS + (0 if symmetric else kind.bits)) * blocks / (rows * columns)


def to_blocks(W: Any, granularity: Granularity) -> Any:
    """Cut `W` (out, ...) into blocks that share a scale: shape (rows, blocks, length).

    A ragged last block is filled up with zeros, which no scale rule here notices: zero is on every grid and
    in every range.
    """
    xp = namespace(W)
    if granularity == "tensor":
        return W.reshape(1, 1, -1)
    rows = W.reshape(W.shape[0], -1) if W.ndim > 1 else W.reshape(1, -1)
    length = block_length(granularity, rows.shape[1])
    missing = -rows.shape[1] % length
    if missing:
        rows = xp.concatenate([rows, xp.zeros_like(rows[:, :missing])], 1)
    return rows.reshape(rows.shape[0], -1, length)


def from_blocks(blocks: Any, shape: tuple[int, ...]) -> Any:
    """Undo `to_blocks`: drop the fill and give `shape` back."""
    rows = shape[0] if blocks.shape[0] > 1 and len(shape) > 1 else 1
    return blocks.reshape(rows, -1)[:, : math.prod(shape) // rows].reshape(shape)
