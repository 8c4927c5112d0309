"""Bits of each module after llm-compressor ran our recipe in one shot. Run by export_tools.py."""

import json
import sys

import torch
from datasets import Dataset
from llmcompressor import oneshot
from transformers import AutoModelForCausalLM

folder, file = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(folder)
ids = torch.randint(0, model.config.vocab_size, (8, 32), generator=torch.Generator().manual_seed(0))
data = Dataset.from_dict({"input_ids": ids.tolist(), "attention_mask": torch.ones_like(ids).tolist()})
oneshot(model=model, dataset=data, recipe=file, max_seq_length=32, num_calibration_samples=8)
found = {
    name: module.quantization_scheme.weights.num_bits
    for name, module in model.named_modules()
    if getattr(module, "quantization_scheme", None) is not None
}
print(json.dumps(found))
