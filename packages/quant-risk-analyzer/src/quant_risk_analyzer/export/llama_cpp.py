"""`--tensor-type` arguments of llama-quantize, one a line."""

from __future__ import annotations

from mfi_command import BadInput
from quant_risk_analyzer.export.patterns import regexes
from quant_risk_analyzer.export.plan import Plan
from quant_risk_analyzer.formats import format_named

TYPES = {
    "int8": "q8_0",
    "int6": "q6_k",
    "int5": "q5_k",
    "int4": "q4_k",
    "int3": "q3_k",
    "int2": "q2_k",
    "q4_k": "q4_k",
    "mxfp4": "mxfp4",
    None: "f16",
}


def write(plan: Plan, dialect: str) -> str:
    """Lines such as `--tensor-type ^blk\\.(0|11)\\.ffn_down\\.weight$=q6_k`.

    llama-quantize searches the expression anywhere in a tensor's name: it is anchored at both ends.
    """
    from checkpoint_lens import gguf_names

    names = gguf_names(plan.assignment)
    lines = []
    for format in dict.fromkeys(plan.assignment.values()):
        if format not in TYPES:
            raise BadInput(
                f"llama.cpp has no type for {format_named(str(format)).name}: use int2 to int8, q4_k or mxfp4"
            )
        chosen = [names[name] for name, each in plan.assignment.items() if each == format]
        lines += [f"--tensor-type {each}={TYPES[format]}" for each in regexes(chosen)]
    return "\n".join(lines) + "\n"
