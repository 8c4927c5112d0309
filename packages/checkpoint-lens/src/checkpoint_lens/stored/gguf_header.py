"""The header of a GGUF file: metadata and where each tensor lies.

The gguf package's own reader makes a numpy view of every string; a vocabulary of 50,000 takes it seconds. Its
constants and its dequantizers are used, its reader is the oracle of our tests.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from gguf.constants import GGML_QUANT_SIZES, GGUF_DEFAULT_ALIGNMENT, GGMLQuantizationType, GGUFValueType

from mfi_command import BadInput

_SCALARS = {
    GGUFValueType.UINT8: "<B",
    GGUFValueType.INT8: "<b",
    GGUFValueType.UINT16: "<H",
    GGUFValueType.INT16: "<h",
    GGUFValueType.UINT32: "<I",
    GGUFValueType.INT32: "<i",
    GGUFValueType.FLOAT32: "<f",
    GGUFValueType.UINT64: "<Q",
    GGUFValueType.INT64: "<q",
    GGUFValueType.FLOAT64: "<d",
    GGUFValueType.BOOL: "<?",
}


@dataclass(frozen=True)
class GGUFTensor:
    """One tensor: `shape` rows first, as in numpy; its values are the `nbytes` after byte `offset`."""

    shape: tuple[int, ...]
    kind: GGMLQuantizationType
    offset: int
    nbytes: int


@dataclass(frozen=True)
class GGUFHeader:
    """Metadata by key, tensors by name, in the order of the file."""

    metadata: dict[str, Any]
    tensors: dict[str, GGUFTensor]


def read_header(path: Path) -> GGUFHeader:
    """Read and check the header of a little-endian GGUF file, version 2 or 3.

    Raises
    ------
    BadInput
        If the file is of another kind or version, ends too early, or a tensor has a type that the gguf
        package does not know.
    """
    with path.open("rb") as file:
        cursor = _Cursor(path, file)
        if cursor.take(4) != b"GGUF":
            raise BadInput(f"{path} is not a GGUF file: it does not begin with GGUF")
        version = cursor.scalar("<I")
        if version not in (2, 3):
            raise BadInput(f"{path}: GGUF version {version} is not read; 2 and 3 (little-endian) are")
        count, pairs = cursor.scalar("<Q"), cursor.scalar("<Q")
        metadata = {}
        for _ in range(pairs):
            key = cursor.string()
            metadata[key] = cursor.value(cursor.scalar("<I"))
        entries = {cursor.string(): cursor.tensor_entry() for _ in range(count)}
        alignment = metadata.get("general.alignment", GGUF_DEFAULT_ALIGNMENT)
        start = math.ceil(cursor.at / alignment) * alignment
    tensors = {name: _place(path, name, entry, start) for name, entry in entries.items()}
    _inside(path, tensors, cursor.size)
    return GGUFHeader(metadata, tensors)


def _place(path: Path, name: str, entry: tuple[tuple[int, ...], int, int], start: int) -> GGUFTensor:
    shape, number, offset = entry
    try:
        kind = GGMLQuantizationType(number)
    except ValueError as error:
        raise BadInput(f"{path}: tensor {name} has type {number}, unknown to the gguf package") from error
    values, size = GGML_QUANT_SIZES[kind]
    if not shape or shape[-1] % values:
        raise BadInput(f"{path}: tensor {name} of shape {shape} does not divide into blocks of {kind.name}")
    return GGUFTensor(shape, kind, start + offset, math.prod(shape) // values * size)


def _inside(path: Path, tensors: dict[str, GGUFTensor], size: int) -> None:
    end = max((tensor.offset + tensor.nbytes for tensor in tensors.values()), default=0)
    if end > size:
        raise BadInput(f"{path} ends {end - size} bytes too early: it is truncated; download it again")


class _Cursor:
    """Reads on from where it stands, never past the end: a damaged length must not ask for memory."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file, self.at = path, file, 0
        self.size = path.stat().st_size

    def take(self, count: int) -> bytes:
        if count > self.size - self.at:
            raise BadInput(f"{self.path} ends inside its header: it is truncated or damaged")
        self.at += count
        return self.file.read(count)

    def scalar(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def string(self) -> str:
        return self.take(self.scalar("<Q")).decode("utf-8", "surrogateescape")

    def value(self, number: int) -> Any:
        if number == GGUFValueType.STRING:
            return self.string()
        if number == GGUFValueType.ARRAY:
            return self._array(self.scalar("<I"), self.scalar("<Q"))
        return self.scalar(_SCALARS[self._known(number)])

    def _array(self, number: int, count: int) -> list[Any]:
        if number in (GGUFValueType.STRING, GGUFValueType.ARRAY):
            return [self.value(number) for _ in range(count)]
        form = _SCALARS[self._known(number)]
        body = self.take(count * struct.calcsize(form))
        return list(struct.unpack(f"<{count}{form[1]}", body))

    def _known(self, number: int) -> GGUFValueType:
        if number not in _SCALARS:
            raise BadInput(f"{self.path}: metadata of type {number} is not GGUF's; the file is damaged")
        return GGUFValueType(number)

    def tensor_entry(self) -> tuple[tuple[int, ...], int, int]:
        """Shape (GGUF counts columns first), type number, offset after the header."""
        dimensions = self._array(GGUFValueType.UINT64, self.scalar("<I"))
        return tuple(reversed(dimensions)), self.scalar("<I"), self.scalar("<Q")
