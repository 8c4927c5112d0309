"""`quantization_config` of compressed-tensors (vLLM, transformers): groups of modules, their arguments."""

from __future__ import annotations

import json
from typing import Any

from mfi_command import BadInput
from quant_risk_analyzer.export.patterns import regexes
from quant_risk_analyzer.export.plan import Plan
from quant_risk_analyzer.formats import IntegerFormat, NumberFormat

STORED = {"fp8_e4m3": "float-quantized", "nvfp4": "nvfp4-pack-quantized", "mxfp4": "mxfp4-pack-quantized"}


def write(plan: Plan, dialect: str) -> str:
    """The JSON object."""
    return json.dumps(config(plan), indent=2) + "\n"


def config(plan: Plan) -> dict[str, Any]:
    """The object as Python data."""
    groups = config_groups(plan)
    stored = {_stored(kind) for kind in plan.by_format()}
    return {
        "quant_method": "compressed-tensors",
        "format": stored.pop() if len(stored) == 1 else "mixed-precision",
        "quantization_status": "initialized",
        "config_groups": groups,
        "ignore": ignored(plan),
    }


def config_groups(plan: Plan) -> dict[str, dict[str, Any]]:
    """One group a format, with the modules that it is for."""
    return {
        f"group_{number}": {
            "targets": [f"re:{each}" for each in regexes(names)],
            "weights": arguments(kind, plan),
            "input_activations": None,
            "output_activations": None,
            "format": _stored(kind),
        }
        for number, (kind, names) in enumerate(plan.by_format().items())
    }


def ignored(plan: Plan) -> list[str]:
    """Modules to leave alone; a head that the plan does not name is among them."""
    names = [f"re:{each}" for each in regexes(plan.kept)]
    return names if any(name.endswith("lm_head") for name in plan.assignment) else [*names, "lm_head"]


def arguments(kind: NumberFormat, plan: Plan) -> dict[str, Any]:
    """The arguments of the weights."""
    common = {"num_bits": kind.bits, "symmetric": True, "dynamic": False}
    if kind.name == "nvfp4":
        return {**common, "type": "float", "strategy": "tensor_group", "group_size": 16}
    if kind.name == "mxfp4":
        return {
            **common,
            "type": "float",
            "strategy": "group",
            "group_size": 32,
            "scale_dtype": "torch.uint8",
        }
    if not isinstance(kind, IntegerFormat) and kind.name != "fp8_e4m3":
        raise BadInput(
            f"compressed-tensors has no format {kind.name}: use an integer, fp8_e4m3, nvfp4 or mxfp4"
        )
    family = "int" if isinstance(kind, IntegerFormat) else "float"
    if plan.group_size is not None:
        return {**common, "type": family, "strategy": "group", "group_size": plan.group_size}
    return {**common, "type": family, "strategy": str(plan.granularity)}


def _stored(kind: NumberFormat) -> str:
    return STORED.get(kind.name, "int-quantized" if kind.bits == 8 else "pack-quantized")
