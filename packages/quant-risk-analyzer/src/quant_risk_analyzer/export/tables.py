"""The plan as JSON, CSV or a Markdown table."""

from __future__ import annotations

import csv
import io
import json

from quant_risk_analyzer.export.plan import Plan

COLUMNS = ("module", "format", "rating", "risk", "reason")


def write(plan: Plan, dialect: str) -> str:
    """The text in the form that `dialect` names."""
    if dialect == "json":
        found = {
            "schema_version": 1,
            "model": plan.model,
            "granularity": plan.granularity,
            "modules": [dict(zip(COLUMNS, row, strict=True)) for row in _rows(plan)],
        }
        return json.dumps(found, indent=2) + "\n"
    if dialect == "csv":
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([COLUMNS, *_rows(plan)])
        return out.getvalue()
    lines = ["| " + " | ".join(COLUMNS) + " |", "| " + " | ".join(["---"] * len(COLUMNS)) + " |"]
    for row in _rows(plan):
        cells = (
            "" if each is None else f"{each:.3g}" if isinstance(each, float) else str(each) for each in row
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _rows(plan: Plan) -> list[tuple[object, ...]]:
    return [
        (
            name,
            format or "full precision",
            plan.grades.get(name),
            plan.risks.get(name),
            next(iter(plan.reasons.get(name, ())), None),
        )
        for name, format in plan.assignment.items()
    ]
