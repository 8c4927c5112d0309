"""Peak memory of compressing a sharded checkpoint, with and without a bound on what is held at once.

    uv run python packages/svd-compress/benchmarks/peak_memory.py [--record peak_memory]

Writes a Llama-shaped model of random numbers in bfloat16, a file a block, and compresses it twice, each time
in a process of its own. Printed beside the peak: how much of it is above the loaded model (which is in memory
in float32 whatever is done). With a bound that is the moments up to the bound and the work on one
layer; without one, the moments and factors of all layers.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from recording import record

BLOCKS, HIDDEN, INNER, VOCABULARY = 8, 512, 1408, 4096
BOUND_MIB = 64
SHAPES = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (HIDDEN // 2, HIDDEN),
    "self_attn.v_proj": (HIDDEN // 2, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (INNER, HIDDEN),
    "mlp.up_proj": (INNER, HIDDEN),
    "mlp.down_proj": (HIDDEN, INNER),
}


def write_sharded(folder):
    """The checkpoint; its linear layers' parameters and bytes of weights."""
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    shards = [
        {
            f"model.layers.{block}.{name}.weight": torch.randn(shape, generator=generator) / shape[1] ** 0.5
            for name, shape in SHAPES.items()
        }
        | {
            f"model.layers.{block}.{norm}.weight": torch.ones(HIDDEN)
            for norm in ("input_layernorm", "post_attention_layernorm")
        }
        for block in range(BLOCKS)
    ]
    ends = {"model.embed_tokens.weight": torch.randn(VOCABULARY, HIDDEN, generator=generator) / 8}
    shards.append(ends | {"model.norm.weight": torch.ones(HIDDEN)})
    places = {}
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_file({key: value.bfloat16() for key, value in shard.items()}, folder / name)
        places.update(dict.fromkeys(shard, name))
    size = sum(path.stat().st_size for path in folder.iterdir())
    index = {"metadata": {"total_size": size}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": BLOCKS,
        "num_attention_heads": 8, "num_key_value_heads": 4, "max_position_embeddings": 256,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": True,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    alphabet = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    return BLOCKS * sum(m * n for m, n in SHAPES.values()), size


def peak_bytes():
    """Of this process until now; ru_maxrss is in KiB on Linux."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def compress_here(model, output, work):
    """Compress in this process, and print what its peaks were."""
    from checkpoint_lens import load_model
    from svd_compress import compress

    load_model(model)
    loaded = peak_bytes()
    found = compress(
        model, calibration="reference:calibration", evaluate="reference:in-domain", output=output, keep=0.8,
        context=64, calibration_tokens=1024, evaluation_tokens=256, faster_at=0,
        memory_bytes=BOUND_MIB << 20 if work else None, work=work or None,
    )  # fmt: skip
    files = sum(path.stat().st_size for path in Path(output).glob("*.safetensors"))
    print(json.dumps({
        "loaded_bytes": loaded, "peak_bytes": peak_bytes(), "reported_bytes": found.bytes_after,
        "bytes_on_disk": files, "kept": found.kept,
    }))  # fmt: skip


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--record")
    parser.add_argument("--here", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        compress_here(*arguments.here)
        return
    runs = {}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        parameters, size = write_sharded(folder / "model")
        for name, work in (("unbounded", ""), ("bounded", str(folder / "work"))):
            command = [sys.executable, __file__, "--here", str(folder / "model"), str(folder / name), work]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            runs[name] = json.loads(done.stdout.splitlines()[-1])
    for name, run in runs.items():
        above = (run["peak_bytes"] - run["loaded_bytes"]) / 2**20
        print(
            f"{name:10} peak {run['peak_bytes'] / 2**20:.0f} MiB, {above:.0f} above the loaded model; "
            f"reported {run['reported_bytes']} bytes, on disk {run['bytes_on_disk']}"
        )
    if arguments.record:
        record(
            arguments.record, "cpu", shards=BLOCKS + 1, bytes_of_weights=size, linear_parameters=parameters,
            moments_bound_bytes=BOUND_MIB << 20, runs=runs,
        )  # fmt: skip


if __name__ == "__main__":
    main()
