"""SARIF 2.1.0 for code scanning: one result for each module rated B or C."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

from quant_risk_analyzer.export.plan import Plan

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {"B": "warning", "C": "error"}
MEANING = {"B": "Quantizing this layer costs a little.", "C": "Quantizing this layer would hurt."}


def write(plan: Plan, dialect: str) -> str:
    """The JSON object."""
    found = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "quant-risk-analyzer",
                        "version": version("quant-risk-analyzer"),
                        "rules": [
                            {
                                "id": f"grade-{grade.lower()}",
                                "shortDescription": {"text": MEANING[grade]},
                                "defaultConfiguration": {"level": level},
                            }
                            for grade, level in LEVELS.items()
                        ],
                    }
                },
                "results": [_result(plan, name) for name, grade in plan.grades.items() if grade in LEVELS],
            }
        ],
    }
    return json.dumps(found, indent=2) + "\n"


def _result(plan: Plan, name: str) -> dict[str, Any]:
    grade = plan.grades[name]
    risk = f" {plan.risks[name]:.2g} nats per token expected." if name in plan.risks else ""
    reasons = " ".join(f"{each}." for each in plan.reasons.get(name, ()))
    return {
        "ruleId": f"grade-{grade.lower()}",
        "level": LEVELS[grade],
        "message": {"text": f"{name} in {plan.default}: {MEANING[grade]}{risk} {reasons}".strip()},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": plan.model.replace("\\", "/")}},
                "logicalLocations": [{"fullyQualifiedName": name, "kind": "module"}],
            }
        ],
    }
