"""SARIF 2.1.0 for code scanning: one result for each module rated B or C.

What GitHub asks for beyond the schema is there: texts of the rules, a region (weights have no lines: it is
the first), and a fingerprint of its own for each module, since all of them lie in one file.
"""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from quant_risk_analyzer.export.plan import Plan

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {"B": "warning", "C": "error"}
MEANING = {"B": "Quantizing this layer costs a little.", "C": "Quantizing this layer would hurt."}
HELP = {
    "B": "Give the layer more bits, or one scale for a smaller group, where the budget allows it.",
    "C": "Keep the layer in full precision or in 8 bits, or smooth the channel that the reasons name.",
}
MOST = 5000  # results that code scanning shows of one run


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
                                "shortDescription": {"text": f"Quantization risk {grade}"},
                                "fullDescription": {"text": MEANING[grade]},
                                "help": {"text": HELP[grade]},
                                "defaultConfiguration": {"level": level},
                            }
                            for grade, level in LEVELS.items()
                        ],
                    }
                },
                "results": [_result(plan, name) for name in _worst(plan)],
            }
        ],
    }
    return json.dumps(found, indent=2) + "\n"


def _worst(plan: Plan) -> list[str]:
    """Modules rated B or C; beyond what is shown, those of the largest risk."""
    found = [name for name, grade in plan.grades.items() if grade in LEVELS]
    return sorted(found, key=lambda name: -plan.risks.get(name, 0.0))[:MOST] if len(found) > MOST else found


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
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(plan.model.replace("\\", "/"))},
                    "region": {"startLine": 1},
                },
                "logicalLocations": [{"fullyQualifiedName": name, "kind": "module"}],
            }
        ],
        "partialFingerprints": {"primaryLocationLineHash": _fingerprint(name)},
    }


def _fingerprint(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16] + ":1"
