"""Bits of each module by GPTQModel's own reading of our configuration. Run by export_tools.py."""

import json
import sys
from pathlib import Path

from gptqmodel import QuantizeConfig
from transformers import AutoModelForCausalLM

folder, file = sys.argv[1:]
config = QuantizeConfig(**json.loads(Path(file).read_text()))
found = {}
for name, module in AutoModelForCausalLM.from_pretrained(folder).named_modules():
    if type(module).__name__ == "Linear" and name != "lm_head" and config.dynamic_get(name) is not False:
        found[name] = config.dynamic_get(name, "bits", config.bits)
print(json.dumps(found))
