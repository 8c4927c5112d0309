"""Bytes at a place in a file as an array."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from mfi_command import BadInput


def read_array(path: Path, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Read `shape` values of `dtype` that start `offset` bytes into the file.

    A plain read, not a memory map: what was read once would stay in the process's resident size.
    """
    count = math.prod(shape)
    values = np.empty(count, dtype)
    with path.open("rb") as file:
        file.seek(offset)
        # A byte view: the file object does not know ml_dtypes.
        got = file.readinto(values.view(np.uint8).data) if count else 0
    if got != values.nbytes:
        raise BadInput(
            f"{path} ends {values.nbytes - got} bytes too early: it is truncated; copy or download it again"
        )
    return values.reshape(shape)
