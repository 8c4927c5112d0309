"""What a user gives as a file: formats in TOML, rows of numbers."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput
from stable_ops.fp.formats import Format

_KEYS = {"exponent_bits", "mantissa_bits", "specials", "exponent_bias"}


def read_formats(path: str | Path) -> dict[str, Format]:
    """The formats of a TOML file: one table a format, named as the format.

    Parameters
    ----------
    path : str or Path
        Each table holds exponent_bits and mantissa_bits, and may hold specials ("ieee" unless given) and
        exponent_bias, as `Format` has them.

    Raises
    ------
    BadInput
        No TOML, no table, keys that are missing or unknown, values of another type, bits out of range.
    OSError
        A file that cannot be read.

    Examples
    --------
    A file with

        [fp9]
        exponent_bits = 5
        mantissa_bits = 3

    gives {"fp9": Format("fp9", 5, 3)}.
    """
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is no TOML: {error}".splitlines()[0]) from error
    formats = {name: _read(name, table, path) for name, table in tables.items()}
    if not formats:
        raise BadInput(
            f"{path} defines no format: write a table such as [fp9] with exponent_bits, mantissa_bits"
        )
    return formats


def read_format(reference: str) -> Format:
    """The format of "mine.toml:name", or of "mine.toml" if it defines one only."""
    path, _, name = reference.partition(".toml")
    formats = read_formats(f"{path}.toml")
    wanted = name.removeprefix(":")
    if not wanted and len(formats) == 1:
        return next(iter(formats.values()))
    if wanted not in formats:
        raise BadInput(f"{path}.toml defines {', '.join(formats)}: write {path}.toml:{next(iter(formats))}")
    return formats[wanted]


def _read(name: str, table: Any, path: str | Path) -> Format:
    if not isinstance(table, dict) or not {"exponent_bits", "mantissa_bits"} <= set(table) <= _KEYS:
        raise BadInput(
            f"{path}, [{name}]: give exponent_bits and mantissa_bits, of {', '.join(sorted(_KEYS))}"
        )
    numbers = {key: value for key, value in table.items() if key != "specials"}
    if any(isinstance(value, bool) or not isinstance(value, int) for value in numbers.values()):
        raise BadInput(f"{path}, [{name}]: bits and bias must be whole numbers, got {numbers}")
    return Format(name, specials=table.get("specials", "ieee"), **numbers)


def read_values(path: str | Path) -> NDArray[np.float64]:
    """The numbers of a .npy file, or of text (one or more a line, commas or blanks between), as one row.

    Raises
    ------
    BadInput
        Another format, Python objects, text that is no number, no number at all.
    OSError
        A file that cannot be read.
    """
    path = Path(path)
    try:
        if path.suffix == ".npy":
            loaded = np.asarray(np.load(path, allow_pickle=False)).astype(np.float64).reshape(-1)
        else:
            words = path.read_text(encoding="utf-8").replace(",", " ").split()
            loaded = np.array([float(word) for word in words], dtype=np.float64)
    except (ValueError, EOFError, TypeError) as error:
        reason = f"{error}".splitlines()[0]
        raise BadInput(f"{path} holds no row of numbers: {reason}; give text or a .npy file") from error
    if not loaded.size:
        raise BadInput(f"{path} is empty: give at least one number")
    return loaded
