"""Recipe of llm-compressor: a GPTQ modifier for integers, rounding to nearest for the rest."""

from __future__ import annotations

import json

from quant_risk_analyzer.export.compressed_tensors import config_groups, ignored
from quant_risk_analyzer.export.plan import Plan
from quant_risk_analyzer.formats import IntegerFormat


def write(plan: Plan, dialect: str) -> str:
    """The YAML; what is nested deeper than a line stands as JSON, which YAML contains."""
    integers = all(isinstance(kind, IntegerFormat) for kind in plan.by_format())
    lines = [
        "quant_stage:",
        "  quant_modifiers:",
        f"    {'GPTQModifier' if integers else 'QuantizationModifier'}:",
        f"      ignore: {json.dumps(ignored(plan))}",
        "      config_groups:",
    ]
    for name, group in config_groups(plan).items():
        lines.append(f"        {name}:")
        for key in ("targets", "weights"):
            lines.append(f"          {key}: {json.dumps(group[key])}")
    return "\n".join(lines) + "\n"
