"""Where a model's shape comes from: a dict, a config.json, a model folder, or the name of a known model."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from mfi_command import BadInput


@cache
def _known() -> dict[str, dict[str, Any]]:
    return tomllib.loads((files("roofline") / "models.toml").read_text(encoding="utf-8"))


def known_models() -> dict[str, str]:
    """Names that `read_config` answers offline, each with the source of its shape."""
    return {name: entry["source"] for name, entry in _known().items()}


def read_config(model: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a Hugging Face config.json.

    Parameters
    ----------
    model
        The keys themselves, a path to a config.json, a folder that holds one, or a name of `known_models()`
        (with or without the organisation: `facebook/opt-30b` is `opt-30b`).

    Raises
    ------
    BadInput
        Nothing of that name, or a file that is not a JSON object.
    """
    if isinstance(model, Mapping):
        return dict(model)
    path = Path(model) / "config.json" if Path(model).is_dir() else Path(model)
    if path.is_file():
        return _read(path)
    name = str(model).rpartition("/")[2].lower()
    if name in _known():
        return dict(_known()[name]["config"])
    if path.suffix == ".json" or path.name == "config.json":
        raise BadInput(f"{path}: no such file; expected a config.json")
    near = difflib.get_close_matches(name, _known(), n=3, cutoff=0.5)
    raise BadInput(
        f"model {str(model)!r} is neither a config.json, a folder with one, nor a known name"
        f" (nearest: {', '.join(near) or 'none'}); known: {', '.join(_known())}"
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInput(f"{path}: not a JSON file ({error}); expected a Hugging Face config.json") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path}: holds a {type(content).__name__}, expected the JSON object of a config.json")
    return content
