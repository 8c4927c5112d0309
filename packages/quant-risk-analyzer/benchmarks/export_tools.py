"""Load each exported file with the tool that it is for, unedited, and ask which bits each module got.

Run: python export_tools.py OUTPUT.json TOOL=PROGRAM [TOOL=PROGRAM ...]

PROGRAM is the python of an environment that has the tool (and transformers):
compressed-tensors= llm-compressor= auto-round= gptqmodel= bitsandbytes= torchao= modelopt=
for gguf= the program llama-quantize or the library libllama, for sarif= the file of the official JSON schema.
Each environment is its own: the tools pin versions against each other. Dialects without a program stay as
they are in OUTPUT.json. The model: a llama of 12 small blocks with random weights; one module is kept in full
precision, one (in block 1, not 11) gets int8, the rest int4, where the tool takes several formats.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

from quant_risk_analyzer.export import export
from quant_risk_analyzer.export.plan import Plan, make_plan

ROLES = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
ROLES += ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
BLOCKS, HIDDEN, GROUP, VOCABULARY = 12, 256, 128, 256
NAMES = [f"model.layers.{block}.{role}" for block in range(BLOCKS) for role in ROLES]
KEPT, WIDE = "model.layers.11.self_attn.o_proj", "model.layers.1.mlp.down_proj"
SCRIPTS = {
    "compressed-tensors": "compressed_tensors",
    "llm-compressor": "llm_compressor",
    "auto-round": "auto_round",
    "gptqmodel": "gptqmodel",
    "bitsandbytes": "transformers_skip",
    "torchao": "transformers_skip",
    "modelopt": "modelopt",
    "gguf": "llama_quantize",
}
PACKAGES = {"llm-compressor": "llmcompressor", "modelopt": "nvidia-modelopt"}
TYPES = {"Q4_K": 4, "Q8_0": 8}
LIMIT_S = 2000


def plan_for(dialect: str) -> Plan:
    """Three precisions, or two where the tool takes one format and a list to skip."""
    if dialect in ("bitsandbytes", "torchao"):
        return make_plan(dict.fromkeys(NAMES, "int8") | {KEPT: None})
    return make_plan(dict.fromkeys(NAMES, "int4") | {KEPT: None, WIDE: "int8"}, granularity=GROUP)


def save_model(folder: Path) -> None:
    """A llama with random weights, and a tokenizer of single bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=BLOCKS,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=VOCABULARY,
        tie_word_embeddings=False,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({each: at for at, each in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    last = alphabet[-1]
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=last, pad_token=last).save_pretrained(
        folder
    )


def expected(plan: Plan) -> dict[str, int]:
    """Bits of each module that the plan quantizes."""
    return {name: int(format.removeprefix("int")) for name, format in plan.assignment.items() if format}


def checked(dialect: str, program: str, folder: Path) -> dict[str, object]:
    """What the tool made of the file: the modules whose bits are not those of the plan, or its refusal."""
    plan = plan_for(dialect)
    file = folder / f"recipe.{'yaml' if dialect in ('llm-compressor', 'modelopt') else 'json'}"
    file.write_text(export(plan, dialect), encoding="utf-8")
    script = Path(__file__).parent / "tools" / f"with_{SCRIPTS[dialect]}.py"
    ours = dialect == "gguf"
    command = [sys.executable if ours else program, str(script), str(folder), str(file)]
    found: dict[str, object] = {"tool": version(dialect, program)}
    try:
        done = subprocess.run(
            command + [program] * ours, capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return found | {"loads": False, "refusal": f"not finished after {LIMIT_S} s"}
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr)
        return found | {"loads": False, "refusal": done.stderr.strip().splitlines()[-1][:400]}
    bits = json.loads(done.stdout.strip().splitlines()[-1])
    if ours:
        bits = {name: TYPES[kind] for name, kind in bits.items() if name in NAMES and kind in TYPES}
    wanted = expected(plan)
    different = sorted(name for name in {*bits, *wanted} if bits.get(name) != wanted.get(name))
    return found | {"loads": True, "modules": len(bits), "different": different}


def version(dialect: str, program: str) -> str:
    """Name and version of the tool."""
    if dialect == "gguf":
        return f"llama.cpp ({Path(program).name})"
    package = PACKAGES.get(dialect, dialect)
    code = (
        f"from importlib.metadata import version as v; print(v({package!r}), v('transformers'), v('torch'))"
    )
    done = subprocess.run([program, "-c", code], capture_output=True, text=True, check=False)
    words = done.stdout.split()
    return (
        f"{package} {words[0]}, transformers {words[1]}, torch {words[2]}" if words else f"{package} absent"
    )


def schema_errors(schema: str) -> dict[str, object]:
    """What the official JSON schema of SARIF 2.1.0 says against our file."""
    import jsonschema

    rules = json.loads(Path(schema).read_text(encoding="utf-8"))
    grades = dict.fromkeys(NAMES, "A") | {KEPT: "C", WIDE: "B"}
    plan = make_plan(dict.fromkeys(NAMES, "int4"), grades=grades, risks=dict.fromkeys(NAMES, 0.5))
    validator = jsonschema.validators.validator_for(rules)
    errors = list(validator(rules).iter_errors(json.loads(export(plan, "sarif"))))
    return {
        "tool": str(rules.get("$id") or rules.get("title")),
        "loads": not errors,
        "different": [e.message for e in errors],
    }


def kept(target: Path, dialect: str, found: dict[str, object]) -> dict[str, dict[str, object]]:
    """All results so far, with this one: read again, since several tools may be asked at a time."""
    answer = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {"tools": {}}
    answer |= {
        "command": "python packages/quant-risk-analyzer/benchmarks/export_tools.py export_tools.json "
        "TOOL=PROGRAM for each tool below",
        "date": str(date.today()),
        "device": f"{platform.machine()} CPU",
    }
    answer["tools"][dialect] = found
    target.write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")
    tools: dict[str, dict[str, object]] = answer["tools"]
    return tools


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("target", type=Path)
    parser.add_argument("tools", nargs="+", metavar="TOOL=PROGRAM")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        save_model(Path(place))
        for each in chosen.tools:
            dialect, _, program = each.partition("=")
            found = schema_errors(program) if dialect == "sarif" else checked(dialect, program, Path(place))
            print(dialect, json.dumps(found))
            results = kept(chosen.target, dialect, found)
    return int(any(not each["loads"] or each["different"] for each in results.values()))


if __name__ == "__main__":
    sys.exit(main())
