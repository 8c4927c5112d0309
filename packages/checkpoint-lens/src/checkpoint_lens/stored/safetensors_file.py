"""safetensors: the library judges whether a file is well formed, the values are read here.

Its numpy side knows no fp8 and maps the whole file; reading at the header's offsets gives every dtype and
keeps memory at one tensor.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from checkpoint_lens.checkpoint import TensorInfo
from checkpoint_lens.stored.raw import read_array
from mfi_command import BadInput

DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U64": np.dtype(np.uint64),
    "U32": np.dtype(np.uint32),
    "U16": np.dtype(np.uint16),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}


class SafetensorsFile:
    """One safetensors file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._header, self._start = _header(path)

    @cached_property
    def infos(self) -> Mapping[str, TensorInfo]:
        """Every tensor of the header."""
        return {name: self._info(name, entry) for name, entry in self._header.items()}

    def _info(self, name: str, entry: dict[str, Any]) -> TensorInfo:
        start, stop = entry["data_offsets"]
        kind = DTYPES.get(entry["dtype"])
        return TensorInfo(name, tuple(entry["shape"]), kind.name if kind else entry["dtype"], stop - start)

    def read(self, name: str) -> np.ndarray[Any, Any]:
        """The values of one tensor."""
        entry = self._header[name]
        if entry["dtype"] not in DTYPES:
            raise BadInput(f"{self.path}: tensor {name} has dtype {entry['dtype']}, which numpy cannot hold")
        start = self._start + entry["data_offsets"][0]
        return read_array(self.path, start, DTYPES[entry["dtype"]], tuple(entry["shape"]))


def _header(path: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """The header's entries and where the values begin, after the library has accepted the file."""
    try:
        with safe_open(path, framework="numpy"):
            pass
    except SafetensorError as error:
        raise BadInput(
            f"{path} is not a whole safetensors file ({error}); copy or download it again"
        ) from error
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    in_file_order = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    return dict(in_file_order), 8 + length
