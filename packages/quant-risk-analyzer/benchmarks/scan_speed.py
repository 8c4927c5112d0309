"""Time and memory of `scan` on a whole checkpoint with random weights, made by transformers on no device.

Run: python scan_speed.py OUTPUT.json [--kind opt-1.3b] [--folder FOLDER]       (CPU; OMP_NUM_THREADS=2)

Names and shapes are those of transformers' own model, built without memory; the numbers are drawn shard by
shard in bfloat16 (speed does not depend on them), so that nothing holds the model. `vocabulary-256k` is one
block with a head of 256,000 rows of its own. A temporary folder is deleted at the end, FOLDER is kept and
used again.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import ml_dtypes
import numpy as np

CONFIGS = {
    "opt-1.3b": {
        "model_type": "opt",
        "hidden_size": 2048,
        "word_embed_proj_dim": 2048,
        "ffn_dim": 8192,
        "num_hidden_layers": 24,
        "num_attention_heads": 32,
        "vocab_size": 50272,
        "max_position_embeddings": 2048,
    },
    "vocabulary-256k": {
        "model_type": "llama",
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 1,
        "num_attention_heads": 16,
        "vocab_size": 256_000,
        "tie_word_embeddings": False,
    },
}
SHARD = 2**28  # bytes: a shard is written once it is larger


def write(config: dict[str, object], folder: Path) -> None:
    """Shards with an index; numpy's writer has no bfloat16, so by hand."""
    import torch
    import transformers

    known = transformers.AutoConfig.for_model(**config)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(known)
    tied = {"lm_head.weight"} if known.tie_word_embeddings else set()
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items() if name not in tied}
    generator, where, shard = np.random.default_rng(0), {}, {}
    for name, shape in shapes.items():
        shard[name] = shape
        if name == list(shapes)[-1] or sum(2 * math.prod(each) for each in shard.values()) > SHARD:
            file = folder / f"model-{len(set(where.values())):02d}.safetensors"
            _write_shard(file, shard, generator)
            where |= dict.fromkeys(shard, file.name)
            shard = {}
    size = sum(2 * math.prod(each) for each in shapes.values())
    index = {"metadata": {"total_size": size}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    known.save_pretrained(folder)


def _write_shard(file: Path, shapes: dict[str, tuple[int, ...]], generator: np.random.Generator) -> None:
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for shape in shapes.values():
            # Drawn by rows: a head of 256,000 of them is a gigabyte in float32.
            rows = shape[0] if len(shape) > 1 else 1
            for start in range(0, rows, 8192):
                part = (min(8192, rows - start), *shape[1:]) if len(shape) > 1 else shape
                values = generator.standard_normal(part, np.float32) * np.float32(0.02)
                out.write(values.astype(ml_dtypes.bfloat16).tobytes())


def fresh(folder: Path, executor: str) -> dict[str, float | str]:
    """One scan in a process of its own: its answer, seconds by the clock and of the processors, memory."""
    code = (
        "import resource\n"
        "import sys\n"
        "from mfi_command.executors import digest\n"
        "from quant_risk_analyzer.weights.scan import scan\n"
        "if __name__ == '__main__':\n"
        "    found = scan(sys.argv[1], executor=sys.argv[2])\n"
        "    left = sum(found.left_out.values())\n"
        "    print(found.account)\n"
        "    print(found.rated + left == found.parameters)\n"
        "    print(digest(found.to_dict()))\n"
        "    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)\n"
        "    print(max(resource.getrusage(each).ru_maxrss for each in whose))\n"
    )
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(code)
        script.flush()
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, script.name, folder, executor]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    # Its own word on its memory: the largest child of this process is whoever wrote the weights.
    account, adds_up, answer, peak_kib = found.stdout.splitlines()
    return {
        "account": account,
        "adds_up": adds_up,
        "answer": answer,
        "wall_s": seconds,
        "processors_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_mib": int(peak_kib) / 1024,
    }


def measured(folder: Path) -> dict[str, object]:
    """Serial first, whose memory is that of one process, then by processes."""
    from checkpoint_lens import open_checkpoint, weight_matrices

    gigabytes = sum(file.stat().st_size for file in folder.glob("*.safetensors")) / 1e9
    serial = fresh(folder, "serial")
    processes = fresh(folder, "processes")
    assert processes["answer"] == serial["answer"]
    checkpoint = open_checkpoint(folder)
    shapes = {name: math.prod(info.shape) for name, info in checkpoint.tensors.items()}
    largest = max(shapes[each.tensor] for each in weight_matrices(checkpoint).matrices)
    return {
        "gigabytes": gigabytes,
        "cores": len(os.sched_getaffinity(0)),
        "parameters_in_shapes": sum(shapes.values()),
        "promised_mib": 3 * largest * 4 / 2**20 + 300,
        "processors_s_per_gb": float(serial["processors_s"]) / gigabytes,
        "serial": serial,
        "processes": processes,
    }


def main() -> None:
    """Parse, write the checkpoint, measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    parser.add_argument("--kind", choices=list(CONFIGS), default="opt-1.3b")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "config.json").exists():
            # In a process of its own: the peak of a child begins with that of its parent.
            job = multiprocessing.get_context("spawn").Process(
                target=write, args=(CONFIGS[options.kind], folder)
            )
            job.start()
            job.join()
        known = json.loads(options.output.read_text()) if options.output.exists() else {}
        known[options.kind] = {
            "date": str(date.today()),
            "device": f"CPU, {platform.machine()}",
            "command": f"scan_speed.py --kind {options.kind}",
            "load_before": os.getloadavg()[0],
            **measured(folder),
        }
    options.output.write_text(json.dumps(known, indent=1) + "\n")
    print(json.dumps(known[options.kind], indent=1))


if __name__ == "__main__":
    main()
