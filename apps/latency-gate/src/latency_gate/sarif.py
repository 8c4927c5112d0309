"""Findings in SARIF 2.1.0 (OASIS), which code hosts show at the line of the gate file."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from latency_predictor.gate import Verdict

_RULE = {
    "id": "latency-budget",
    "name": "LatencyBudget",
    "shortDescription": {"text": "A model is predicted to take longer than its budget allows"},
    "defaultConfiguration": {"level": "error"},
}


def sarif(gate: str | Path, verdicts: Sequence[Verdict], *, root: str | Path | None = None) -> dict[str, Any]:
    """One result for each limit that a verdict is over.

    Parameters
    ----------
    gate
        The gate file; results point at the table of their model.
    root
        The folder that paths are relative to; the working folder by default.
    """
    file = Path(gate).resolve()
    base = Path(root or Path.cwd()).resolve()
    uri = (file.relative_to(base) if file.is_relative_to(base) else Path(Path(gate).name)).as_posix()
    places = lines_of(file.read_text(encoding="utf-8"))
    results = [
        {
            "ruleId": _RULE["id"],
            "level": "error",
            "message": {"text": f"{verdict.entry.name} on {verdict.entry.device}: {sentence}"},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": uri},
                        "region": {"startLine": places.get(verdict.entry.name, 1)},
                    }
                }
            ],
        }
        for verdict in verdicts
        for sentence in verdict.over
    ]
    driver = {"name": "latency-gate", "version": version("latency-gate"), "rules": [_RULE]}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }


def lines_of(text: str) -> dict[str, int]:
    """Line of the `[[model]]` table of each name, from 1."""
    import tomllib

    starts = [number for number, line in enumerate(text.splitlines(), 1) if line.strip() == "[[model]]"]
    tables = tomllib.loads(text).get("model", [])
    return {
        table.get("name", table.get("model")): start for table, start in zip(tables, starts, strict=False)
    }
