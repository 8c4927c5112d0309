"""npz: numpy's zip of arrays, read without ever unpickling."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from checkpoint_lens.checkpoint import TensorInfo
from mfi_command import BadInput

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_NUMERIC = "fiub"


class NpzFile:
    """One npz file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                entries = [_info(archive, member) for member in archive.infolist()]
        except (zipfile.BadZipFile, ValueError, EOFError, zlib.error) as error:
            raise BadInput(
                f"{path} is not a whole npz file ({error}); save it again with numpy.savez"
            ) from error
        self._infos = {info.name: info for info in entries}

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        """Every array, from the headers inside the archive."""
        return self._infos

    def read(self, name: str) -> np.ndarray[Any, Any]:
        """The values of one array."""
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                values: np.ndarray[Any, Any] = archive[name]
        except (zipfile.BadZipFile, ValueError, EOFError, zlib.error) as error:
            raise BadInput(f"{self.path}: array {name} cannot be read ({error})") from error
        return values


def _info(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> TensorInfo:
    name = member.filename.removesuffix(".npy")
    with archive.open(member) as file:
        version = npy.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"array {name} has header version {version}")
        shape, _, dtype = _HEADERS[version](file)
        rest = member.file_size - file.tell()
    if dtype.kind not in _NUMERIC:
        raise ValueError(f"array {name} holds {dtype}, not numbers")
    nbytes = math.prod(shape) * dtype.itemsize
    # Judged before numpy would ask for that much memory.
    if nbytes != rest:
        raise ValueError(f"array {name} should take {nbytes} bytes and takes {rest}")
    return TensorInfo(name, tuple(shape), dtype.name, nbytes)
