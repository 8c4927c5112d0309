"""Bits of each module after transformers loaded the model with our skip list. Run by export_tools.py."""

import json
import sys
from pathlib import Path

from transformers import AutoModelForCausalLM, BitsAndBytesConfig, TorchAoConfig

folder, file = sys.argv[1:]
text = json.loads(Path(file).read_text())
kind = {"bitsandbytes": BitsAndBytesConfig, "torchao": TorchAoConfig}[text["quant_method"]]
model = AutoModelForCausalLM.from_pretrained(
    folder, quantization_config=kind.from_dict(text), device_map="cpu"
)
found = {}
for name, module in model.named_modules():
    weight = getattr(module, "weight", None)
    if "Linear" not in type(module).__name__ or weight is None:
        continue
    if type(module).__name__ == "Linear8bitLt" or type(weight).__name__ not in ("Parameter", "Tensor"):
        found[name] = 8
print(json.dumps(found))
