"""Defaults from mfi.toml and from [tool.mfi] of pyproject.toml, below options and environment."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mfi_command.errors import BadInput


def _nearest(name: str, start: Path) -> Path | None:
    return next((folder / name for folder in (start, *start.parents) if (folder / name).is_file()), None)


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not valid TOML: {error}") from error


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def read_settings(start: Path) -> dict[str, Any]:
    """The settings that hold in the directory `start`: one table per tool, mfi.toml over pyproject.toml.

    Both files are the nearest ones at or above `start`.

    Raises
    ------
    BadInput
        If a file is not TOML, or a tool's entry is not a table.
    """
    pyproject = _nearest("pyproject.toml", start)
    settings = _read(pyproject).get("tool", {}).get("mfi", {})
    return _merge(settings, _read(_nearest("mfi.toml", start)))


def option_defaults(
    settings: Mapping[str, Any], known: Mapping[str, Any], *, where: str, ignored: Iterable[str] = ()
) -> dict[str, Any]:
    """The settings with option names in their Python form, every key checked.

    Parameters
    ----------
    settings
        What the user wrote, nested as tool, command, option.
    known
        The same nesting of the names that exist; an option maps to None.
    where
        How the place is called in the message, e.g. "svd-compress".
    ignored
        Sections that belong to another program and are left out unread.

    Raises
    ------
    BadInput
        If a key is unknown: a misspelt setting that is silently dropped is worse than an error.
    """
    defaults: dict[str, Any] = {}
    for key, value in settings.items():
        if key in ignored:
            continue
        name = key if key in known else key.replace("-", "_")
        if name not in known:
            raise BadInput(f"unknown setting {key!r} in [{where}]; known are: {', '.join(sorted(known))}")
        if known[name] is None:
            defaults[name] = value
        elif isinstance(value, Mapping):
            defaults[name] = option_defaults(value, known[name], where=f"{where}.{name}" if where else name)
        else:
            raise BadInput(f"setting {key!r} in [{where}] must be a table, not {value!r}")
    return defaults
