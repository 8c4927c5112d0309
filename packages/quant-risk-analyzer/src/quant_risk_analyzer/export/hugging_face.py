"""Skip lists of transformers' own quantizers: bitsandbytes and torchao."""

from __future__ import annotations

import json
import re
from typing import Any

from mfi_command import BadInput
from quant_risk_analyzer.export.plan import Plan

# Its fp4 is not e2m1: the smallest level is 1/192 of the largest, not 1/12 (benchmarks/quantizer_peers.py).
BITSANDBYTES: dict[str, dict[str, Any]] = {
    "int8": {"load_in_8bit": True},
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
}
TORCHAO = {
    "int8": "Int8WeightOnlyConfig",
    "int4": "Int4WeightOnlyConfig",
    "fp8_e4m3": "Float8WeightOnlyConfig",
}


def write(plan: Plan, dialect: str) -> str:
    """The JSON object; both tools quantize every module in one format, but those on the list."""
    formats = [kind.name for kind in plan.by_format()]
    known = BITSANDBYTES if dialect == "bitsandbytes" else TORCHAO
    if len(formats) != 1 or formats[0] not in known:
        raise BadInput(
            f"{dialect} takes one format for all modules ({', '.join(known)}), the plan has "
            f"{', '.join(formats) or 'none'}: export one format of `rate`"
        )
    # transformers reads the names as expressions that match from the start of a path: dots are escaped.
    skipped = [re.escape(name) for name in plan.kept]
    if not any(name.endswith("lm_head") for name in plan.assignment):
        skipped.append("lm_head")
    if dialect == "bitsandbytes":
        found = {
            "quant_method": "bitsandbytes",
            **BITSANDBYTES[formats[0]],
            "llm_int8_skip_modules": skipped,
        }
    else:
        found = {
            "quant_method": "torchao",
            "quant_type": {"default": _torchao(formats[0], plan)},
            "modules_to_not_convert": skipped,
        }
    return json.dumps(found, indent=2) + "\n"


def _torchao(format: str, plan: Plan) -> dict[str, Any]:
    """The form of torchao's own `config_to_dict`, version 2 of each."""
    data = {"group_size": plan.group_size or 128} if format == "int4" else {}
    return {"_type": TORCHAO[format], "_version": 2, "_data": data}
