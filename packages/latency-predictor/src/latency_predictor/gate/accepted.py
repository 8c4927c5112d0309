"""The values that a gate last accepted, in a file that is committed beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latency_predictor.gate.verdict import ACCEPTED, Verdict
from mfi_command import BadInput, atomic_file

_DIGITS = 6


def accepted_path(gate: str | Path) -> Path:
    """`gate.toml` has its accepted values in `gate.accepted.json`."""
    return Path(gate).with_suffix(".accepted.json")


def read_accepted(path: str | Path) -> dict[str, dict[str, float]]:
    """Seconds by name of the model; nothing where there is no file yet.

    Raises
    ------
    BadInput
        A file that `write_accepted` did not write.
    """
    file = Path(path)
    if not file.is_file():
        return {}
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["models"]
        found = {name: {key: float(one[key]) for key in ACCEPTED} for name, one in content.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{file}: no accepted values ({error!r}); write them with `check --accept`") from error
    for name, values in found.items():
        for key, value in values.items():
            if not 0 < value < math.inf:
                raise BadInput(f"{file}: {key} of {name} is {value}, expected seconds above zero")
    return found


def write_accepted(path: str | Path, verdicts: Sequence[Verdict]) -> None:
    """Take today's predictions as accepted."""
    values = {
        verdict.entry.name: {key: float(f"{getattr(verdict, key):.{_DIGITS}g}") for key in ACCEPTED}
        for verdict in verdicts
    }
    with atomic_file(path) as beside:
        beside.write_text(json.dumps({"models": values}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
