"""Types of each tensor after llama-quantize ran with our arguments. Run by export_tools.py.

argv: folder of the model, our file, the program. The full-precision GGUF has the names, shapes and settings
that llama-quantize needs, and no vocabulary.
"""

import json
import subprocess
import sys
from pathlib import Path

import gguf
import torch
from safetensors.torch import load_file

folder, file, program = sys.argv[1:]
config, source = json.loads((Path(folder) / "config.json").read_text()), Path(folder) / "full.gguf"
writer = gguf.GGUFWriter(source, "llama")
writer.add_block_count(config["num_hidden_layers"])
writer.add_context_length(128)
writer.add_embedding_length(config["hidden_size"])
writer.add_feed_forward_length(config["intermediate_size"])
writer.add_head_count(config["num_attention_heads"])
writer.add_head_count_kv(config["num_key_value_heads"])
writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
writer.add_vocab_size(config["vocab_size"])
tensors = load_file(Path(folder) / "model.safetensors")
known = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
names = {name: known.get_name(name, try_suffixes=(".weight",)) for name in tensors}
for name, tensor in tensors.items():
    writer.add_tensor(names[name], tensor.to(torch.float32).numpy())
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
target = Path(folder) / "quantized.gguf"
arguments = Path(file).read_text().split()  # as $(cat FILE) is split
done = subprocess.run(
    [program, *arguments, str(source), str(target), "q4_k_m"], capture_output=True, text=True, check=False
)
if done.returncode:
    sys.exit((done.stdout + done.stderr)[-600:])
back = {stored: name.removesuffix(".weight") for name, stored in names.items()}
kinds = {each.name: each.tensor_type.name for each in gguf.GGUFReader(target).tensors}
print(json.dumps({back[name]: kind for name, kind in kinds.items()}))
