"""Time and memory of `scan` on a checkpoint with the shapes of OPT-1.3B, and of full spectra beside it.

Run: taskset -c 0,1 python scan_speed.py OUTPUT.json [FOLDER]     (CPU; two cores)

The weights are random numbers in bfloat16: speed does not depend on them. `full_spectra` is what
weightwatcher needs of each layer, its singular values by LAPACK; they are timed by turns with `scan`, on the
layers of one block.
"""

from __future__ import annotations

import json
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

from quant_risk_analyzer.weights.scan import scan

HIDDEN, INNER, BLOCKS, VOCABULARY = 2048, 8192, 24, 50272
SHAPES = {
    **{f"self_attn.{name}_proj": (HIDDEN, HIDDEN) for name in ("q", "k", "v", "out")},
    "fc1": (INNER, HIDDEN),
    "fc2": (HIDDEN, INNER),
}


def write(folder: Path) -> None:
    """One safetensors file for each block, with an index; numpy's writer has no bfloat16, so by hand."""
    generator, where = np.random.default_rng(0), {}
    for block in range(BLOCKS):
        tensors = {f"model.decoder.layers.{block}.{name}.weight": shape for name, shape in SHAPES.items()}
        if block == 0:
            tensors["model.decoder.embed_tokens.weight"] = (VOCABULARY, HIDDEN)
        header, offset = {}, 0
        for name, shape in tensors.items():
            size = 2 * shape[0] * shape[1]
            header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
            offset += size
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        file = folder / f"model-{block:02d}.safetensors"
        with file.open("wb") as out:
            out.write(len(text).to_bytes(8, "little") + text)
            for shape in tensors.values():
                values = generator.standard_normal(shape, np.float32) * np.float32(0.02)
                out.write(values.astype(ml_dtypes.bfloat16).tobytes())
        where |= dict.fromkeys(tensors, file.name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    (folder / "config.json").write_text(json.dumps({"model_type": "opt", "tie_word_embeddings": True}))


def timed(compute):
    start = time.perf_counter()
    answer = compute()
    return answer, time.perf_counter() - start


def peak_of_fresh_process(folder: Path) -> float:
    code = (
        "import resource, sys\n"
        "from quant_risk_analyzer.weights.scan import scan\n"
        "scan(sys.argv[1])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    found = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    return int(found.stdout) / 1024


def spectra(folder: Path, block: int) -> None:
    from checkpoint_lens import open_checkpoint

    checkpoint = open_checkpoint(folder)
    for name in SHAPES:
        W = checkpoint[f"model.decoder.layers.{block}.{name}.weight"].astype(np.float32)
        np.linalg.svd(W, compute_uv=False)


def main() -> None:
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(temporary)
        if not (folder / "config.json").exists():
            write(folder)
        gigabytes = sum(file.stat().st_size for file in folder.glob("*.safetensors")) / 1e9
        cores = len(os.sched_getaffinity(0))
        report, seconds = timed(lambda: scan(folder, executor="processes", workers=cores))
        serial, serial_seconds = timed(lambda: scan(folder))
        assert report == serial
        answer = {
            "date": str(date.today()),
            "device": platform.processor() or platform.machine(),
            "cores": cores,
            "gigabytes": gigabytes,
            "account": report.account,
            "processes_s": seconds,
            "processes_s_per_gb": seconds / gigabytes,
            "serial_s": serial_seconds,
            "serial_s_per_gb": serial_seconds / gigabytes,
            "peak_mib": peak_of_fresh_process(folder),
            "promised_mib": 3 * HIDDEN * INNER * 4 / 2**20 + 300,
        }
        target.write_text(json.dumps(answer, indent=1))
        rounds = []
        for block in (1, 2, 3):
            _, ours = timed(lambda b=block: scan(folder, layers=f"*.layers.{b}.*"))
            _, theirs = timed(lambda b=block: spectra(folder, b))
            rounds.append({"scan_s": ours, "full_spectra_s": theirs, "ratio": theirs / ours})
            answer["by_turns_one_block"] = rounds
            target.write_text(json.dumps(answer, indent=1))
        print(json.dumps(answer, indent=1))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MiB in all")


if __name__ == "__main__":
    main()
