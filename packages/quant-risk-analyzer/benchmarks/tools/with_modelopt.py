"""Bits of each module after Model Optimizer quantized by our recipe. Run by export_tools.py."""

import json
import sys

import modelopt.torch.quantization as mtq
from modelopt.recipe.loader import load_recipe
from transformers import AutoModelForCausalLM

folder, file = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(folder)
mtq.quantize(
    model,
    load_recipe(file).quantize.model_dump(),
    forward_loop=lambda each: each(each.dummy_inputs["input_ids"]),
)
found = {
    name: module.weight_quantizer.num_bits
    for name, module in model.named_modules()
    if hasattr(module, "weight_quantizer") and module.weight_quantizer.is_enabled
}
print(json.dumps(found))
