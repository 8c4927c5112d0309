"""Bits of each module after compressed-tensors applied our `quantization_config`. Run by export_tools.py."""

import json
import sys
from pathlib import Path

from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config
from transformers import AutoModelForCausalLM

folder, file = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(folder)
apply_quantization_config(model, QuantizationConfig.model_validate(json.loads(Path(file).read_text())))
found = {
    name: module.quantization_scheme.weights.num_bits
    for name, module in model.named_modules()
    if getattr(module, "quantization_scheme", None) is not None
}
print(json.dumps(found))
