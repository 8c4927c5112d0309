"""Logits from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput


def read_logits(path: Path) -> NDArray[Any]:
    """The array of a .npy file; pickled objects are refused, and so is whatever else is in there.

    Raises
    ------
    BadInput
        The file is missing, empty, or not one array of numbers.
    """
    wanted = "write logits of shape (..., vocabulary) with numpy.save"
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise BadInput(f"no file {path}: {wanted}") from None
    except (ValueError, EOFError):
        raise BadInput(f"{path} holds no numpy array: {wanted}") from None
    if not isinstance(array, np.ndarray):
        raise BadInput(f"{path} holds several arrays: {wanted}")
    return array
