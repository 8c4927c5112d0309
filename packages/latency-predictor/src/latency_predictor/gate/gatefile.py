"""The file that names the models, the traffic they see, and how long they may take."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfi_command import BadInput

BUDGETS = ("max_prefill_ms", "max_decode_ms", "max_ms", "max_growth_percent")
_COUNTS = {"batch": 1, "prompt": 512, "output": 128, "tensor_parallel": 1}
_OPTIONS = ("stack", "dtype", "weight_dtype", "kv_dtype")
_TEXTS = ("model", "device", "name", *_OPTIONS)


@dataclass(frozen=True)
class Entry:
    """One model under a budget.

    Attributes
    ----------
    name
        How it is called in the answer; the model by default.
    model
        What latency-predictor takes: a path of a configuration, or a model it knows by name.
    batch, prompt, output, tensor_parallel
        Requests at a time, tokens of the prompt, tokens generated, devices a model is spread over.
    options
        What else is set of stack, dtype, weight_dtype and kv_dtype; latency-predictor has the defaults.
    budgets
        The limits that are set, by their name in the file: milliseconds, and percent over the accepted
        values.
    """

    name: str
    model: str
    device: str
    batch: int
    prompt: int
    output: int
    tensor_parallel: int
    options: Mapping[str, str]
    budgets: Mapping[str, float]


def read_gate(path: str | Path) -> list[Entry]:
    """Read and check a gate file.

    A relative path of a model is taken from the folder of the file.

    Raises
    ------
    BadInput
        If the file is missing or not TOML, names no model, or an entry has an unknown or unusable value.
    """
    file = Path(path)
    if not file.is_file():
        raise BadInput(f"no gate file {file}; write one with a [[model]] table for each model and its budget")
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} is not TOML: {error}") from error
    unknown = sorted(set(content) - {"model"})
    if unknown:
        raise BadInput(f"{file}: unknown key {unknown[0]!r}; the file holds [[model]] tables only")
    tables = content.get("model", [])
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise BadInput(f"{file} names no model; add a [[model]] table with model, device and max_ms")
    entries = [
        _entry(table, f"{file}, model {number}", file.parent) for number, table in enumerate(tables, 1)
    ]
    names = [entry.name for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"{file}: two models are called {name!r}; give one a name of its own")
    return entries


def _entry(table: Mapping[str, Any], where: str, folder: Path) -> Entry:
    known = {*_TEXTS, *_COUNTS, *BUDGETS}
    for key, value in table.items():
        if key not in known:
            raise BadInput(f"{where}: unknown key {key!r}; known are {', '.join(sorted(known))}")
        if key in _TEXTS and not (isinstance(value, str) and value):
            raise BadInput(f"{where}: {key} must be a text, not {value!r}")
        if key in _COUNTS and not (type(value) is int and value >= 1):
            raise BadInput(f"{where}: {key} must be a whole number from 1 up, not {value!r}")
        if key in BUDGETS and not (type(value) in (int, float) and math.isfinite(value) and value > 0):
            raise BadInput(f"{where}: {key} must be a positive number, not {value!r}")
    for key in ("model", "device"):
        if key not in table:
            raise BadInput(f"{where}: {key} is missing")
    budgets = {key: float(table[key]) for key in BUDGETS if key in table}
    if not budgets:
        raise BadInput(f"{where}: no budget; set one of {', '.join(BUDGETS)}")
    return Entry(
        name=table.get("name", table["model"]),
        model=_resolved(table["model"], where, folder),
        device=table["device"],
        options={key: table[key] for key in _OPTIONS if key in table},
        budgets=budgets,
        **{key: table.get(key, default) for key, default in _COUNTS.items()},
    )


def _resolved(model: str, where: str, folder: Path) -> str:
    if (folder / model).exists():
        return str(folder / model)
    if "/" in model or model.endswith((".json", ".gguf", ".safetensors")):
        raise BadInput(
            f"{where}: there is no {folder / model}; name a configuration, or a model known by name"
        )
    return model
