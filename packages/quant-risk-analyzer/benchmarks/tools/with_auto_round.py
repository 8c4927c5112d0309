"""Bits of each module after AutoRound took our arguments and rounded. Run by export_tools.py."""

import json
import sys
from pathlib import Path

from auto_round import AutoRound
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, file = sys.argv[1:]
model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
rounding = AutoRound(
    model, tokenizer, iters=0, disable_opt_rtn=True, device_map="cpu", **json.loads(Path(file).read_text())
)
rounded, layers = rounding.quantize()
print(json.dumps({name: each["bits"] for name, each in layers.items() if each["bits"] < 16}))
