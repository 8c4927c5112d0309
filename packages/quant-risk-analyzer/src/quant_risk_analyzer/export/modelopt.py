"""Recipe of NVIDIA's Model Optimizer: everything off, then one entry for each module that is quantized."""

from __future__ import annotations

import json
from typing import Any

from mfi_command import BadInput
from quant_risk_analyzer.export.plan import Plan
from quant_risk_analyzer.formats import IntegerFormat, NumberFormat


def write(plan: Plan, dialect: str) -> str:
    """The YAML. Names are whole paths without wildcards: no other module matches."""
    lines = [
        "metadata:",
        "  recipe_type: ptq",
        f"  description: {json.dumps(f'Weights of {plan.model}, {plan.default} and {len(plan.kept)} kept')}",
        "quantize:",
        "  algorithm: max",
        "  quant_cfg:",
        "    - quantizer_name: '*'",
        "      enable: false",
    ]
    for kind, names in plan.by_format().items():
        entry = json.dumps(_attributes(kind, plan)).replace('"-1"', "-1")
        for name in names:
            lines += [
                f"    - quantizer_name: {json.dumps(name + '.weight_quantizer')}",
                f"      cfg: {entry}",
                "      enable: true",
            ]
    return "\n".join(lines) + "\n"


def _attributes(kind: NumberFormat, plan: Plan) -> dict[str, Any]:
    if kind.name == "nvfp4":
        return {"num_bits": "e2m1", "block_sizes": {"-1": 16, "type": "dynamic", "scale_bits": "e4m3"}}
    if kind.name == "mxfp4":
        return {"num_bits": "e2m1", "block_sizes": {"-1": 32, "type": "dynamic", "scale_bits": "e8m0"}}
    if isinstance(kind, IntegerFormat):
        bits: int | str = kind.bits
    elif kind.name in ("fp8_e4m3", "fp8_e5m2"):
        bits = kind.name.removeprefix("fp8_")
    else:
        raise BadInput(f"Model Optimizer has no format {kind.name}: use an integer, fp8, nvfp4 or mxfp4")
    if plan.group_size is not None:
        return {"num_bits": bits, "block_sizes": {"-1": plan.group_size}}
    return {"num_bits": bits, "axis": 0 if plan.granularity == "channel" else None}
