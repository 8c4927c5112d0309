"""One analysis in the words of each tool that quantizes: a plan, and a file for it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from mfi_command import BadInput

if TYPE_CHECKING:
    from quant_risk_analyzer.export.plan import Plan

# Name of the dialect, the module that writes it, and what to do with the file.
DIALECTS = {
    "compressed-tensors": ("compressed_tensors", "as quantization_config in config.json"),
    "llm-compressor": ("llm_compressor", "oneshot(model=..., recipe=FILE)"),
    "bitsandbytes": ("hugging_face", "BitsAndBytesConfig.from_dict(...)"),
    "torchao": ("hugging_face", "TorchAoConfig(..., modules_to_not_convert=...)"),
    "gptqmodel": ("gptqmodel", "QuantizeConfig(**json)"),
    "auto-round": ("auto_round", "AutoRound(model, tokenizer, **json)"),
    "modelopt": ("modelopt", "load_recipe(FILE), or hf_ptq.py --recipe FILE"),
    "gguf": ("llama_cpp", "llama-quantize $(cat FILE) in.gguf out.gguf TYPE"),
    "sarif": ("sarif", "upload to code scanning"),
    "json": ("tables", "any program"),
    "csv": ("tables", "a spreadsheet"),
    "markdown": ("tables", "a pull request"),
}


def export(plan: Plan, dialect: str) -> str:
    """The text of the file that `dialect` reads.

    Raises
    ------
    BadInput
        An unknown dialect, or a format in the plan that the tool does not have.
    """
    if dialect not in DIALECTS:
        import difflib

        near = difflib.get_close_matches(dialect, DIALECTS, n=1)
        advice = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(DIALECTS)}"
        raise BadInput(f"unknown dialect {dialect!r}: {advice}")
    module = import_module(f"{__name__}.{DIALECTS[dialect][0]}")
    text: str = module.write(plan, dialect)
    return text
