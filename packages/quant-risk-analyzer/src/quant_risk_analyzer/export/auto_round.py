"""Arguments of AutoRound: a base, and `layer_config` by module."""

from __future__ import annotations

import json
from typing import Any

from mfi_command import BadInput
from quant_risk_analyzer.export.plan import Plan
from quant_risk_analyzer.formats import IntegerFormat, NumberFormat, format_named


def write(plan: Plan, dialect: str) -> str:
    """The JSON object; names are whole paths, which AutoRound compares as they are."""
    base = format_named(plan.default)
    layers: dict[str, dict[str, Any]] = {name: {"bits": 16} for name in plan.kept}
    for kind, names in plan.by_format().items():
        if kind != base:
            layers |= dict.fromkeys(names, _scheme(kind, plan))
    return json.dumps({**_scheme(base, plan), "layer_config": layers}, indent=2) + "\n"


def _scheme(kind: NumberFormat, plan: Plan) -> dict[str, Any]:
    if kind.name in ("mxfp4", "nvfp4"):
        family = "mx_fp" if kind.name == "mxfp4" else "nv_fp"
        return {"bits": 4, "group_size": kind.block, "sym": True, "data_type": family}
    if not isinstance(kind, IntegerFormat):
        raise BadInput(f"AutoRound has no format {kind.name}: use an integer, mxfp4 or nvfp4")
    sizes = {"channel": -1, "tensor": 0}
    size = plan.group_size or sizes[str(plan.granularity)]
    return {"bits": kind.bits, "group_size": size, "sym": True, "data_type": "int"}
