"""Types of each tensor after llama.cpp quantized with our arguments. Run by export_tools.py.

argv: folder of the model, our file, and the program llama-quantize, or libllama, whose `llama_model_quantize`
the program calls: then the arguments are cut at "=" and lowered here as the program does it. The
full-precision GGUF has the names, shapes and settings that the quantizer needs, and no vocabulary.
"""

import ctypes
import json
import subprocess
import sys
from pathlib import Path

import gguf
from safetensors.numpy import load_file

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
    writer.add_tensor(names[name], tensor)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
target = Path(folder) / "quantized.gguf"
words = Path(file).read_text().split()  # as $(cat FILE) is split


class Override(ctypes.Structure):
    """`llama_model_tensor_override`."""

    _fields_ = (("pattern", ctypes.c_char_p), ("type", ctypes.c_int))


class Parameters(ctypes.Structure):
    """`llama_model_quantize_params`."""

    _fields_ = (
        ("nthread", ctypes.c_int32),
        *((name, ctypes.c_int) for name in ("ftype", "output_type", "embedding_type")),
        *(
            (name, ctypes.c_bool)
            for name in ("requantize", "quantize_output", "only_copy", "pure", "keep_split", "dry_run")
        ),
        *((name, ctypes.c_void_p) for name in ("imatrix", "kv_overrides")),
        ("overrides", ctypes.POINTER(Override)),
        ("prune_layers", ctypes.c_void_p),
    )


def by_library(path: str) -> None:
    """What the program does after it has read its arguments."""
    ctypes.CDLL(str(Path(path).with_name("libggml-base.so")), ctypes.RTLD_GLOBAL)
    llama = ctypes.CDLL(path)
    llama.llama_model_quantize_default_params.restype = Parameters
    llama.llama_model_quantize.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(Parameters))
    parameters = llama.llama_model_quantize_default_params()
    if not parameters.quantize_output or parameters.pure or parameters.overrides or parameters.imatrix:
        sys.exit("this libllama has another layout of llama_model_quantize_params")
    rules = [each.partition("=") for each in words if each != "--tensor-type"]
    types = {each.name.lower(): each.value for each in gguf.GGMLQuantizationType}
    array = (Override * (len(rules) + 1))(
        *(Override(rule.lower().encode(), types[kind]) for rule, _, kind in rules)
    )
    parameters.overrides, parameters.nthread = array, 1
    parameters.ftype = gguf.LlamaFileType.MOSTLY_Q4_K_M
    if llama.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(parameters)):
        sys.exit("llama_model_quantize failed")


if ".so" in Path(program).name:
    by_library(program)
else:
    done = subprocess.run(
        [program, *words, str(source), str(target), "q4_k_m"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit((done.stdout + done.stderr)[-600:])
back = {stored: name.removesuffix(".weight") for name, stored in names.items()}
kinds = {each.name: each.tensor_type.name for each in gguf.GGUFReader(target).tensors}
print(json.dumps({back[name]: kind for name, kind in kinds.items()}))
