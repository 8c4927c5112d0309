"""`QuantizeConfig` of GPTQModel: one base, and `dynamic` rules for what differs."""

from __future__ import annotations

import json
from typing import Any

from mfi_command import BadInput
from quant_risk_analyzer.export.patterns import regexes
from quant_risk_analyzer.export.plan import Plan
from quant_risk_analyzer.formats import IntegerFormat, NumberFormat, format_named

BITS = (2, 3, 4, 8)


def write(plan: Plan, dialect: str) -> str:
    """The JSON object."""
    base, group = format_named(plan.default), plan.group_size or -1
    rules: dict[str, dict[str, Any]] = {f"-:{each}": {} for each in regexes(plan.kept)}
    for kind, names in plan.by_format().items():
        if kind != base:
            rules |= {f"+:{each}": {"bits": _bits(kind), "group_size": group} for each in regexes(names)}
    found = {
        "bits": _bits(base),
        "group_size": group,
        "sym": True,
        "desc_act": True,
        "lm_head": any(name.endswith("lm_head") for name in plan.assignment),
        "dynamic": rules,
    }
    return json.dumps(found, indent=2) + "\n"


def _bits(kind: NumberFormat) -> int:
    if not isinstance(kind, IntegerFormat) or kind.bits not in BITS:
        raise BadInput(f"GPTQModel packs int2, int3, int4 and int8, not {kind.name}")
    return kind.bits
