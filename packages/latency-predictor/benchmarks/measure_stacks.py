"""Measure prefill and decode of random-weight models under transformers eager on a CUDA device.

    python packages/latency-predictor/benchmarks/measure_stacks.py --output rows.json

Wall time around a synchronised call, medians; random weights and tokens, fp16, sdpa attention. A row says
what was run; the file says on what. Needs torch, transformers and roofline (for the shapes of known models).
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

from roofline import read_config

MODELS = [
    "opt-1.3b",
    "llama-3.2-1b",
    "opt-6.7b",
    "llama-2-7b",
    "opt-13b",
    "llama-3-8b",
    "qwen2.5-7b",
    "opt-2.7b",
    "llama-3.2-3b",
    "mistral-7b",
    "opt-30b",
]
SIZES = [(1, 128), (1, 512), (1, 1024), (8, 128), (8, 512), (32, 128), (32, 512), (64, 128)]


def timed(call, runs: int) -> list[float]:
    """Seconds of each run after two that are not kept."""
    taken = []
    for run in range(runs + 2):
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        if run >= 2:
            taken.append(time.perf_counter() - start)
    return taken


def load(name: str):
    config = AutoConfig.for_model(**read_config(name))
    config.bos_token_id = config.eos_token_id = config.pad_token_id = None
    with torch.device("cuda"):
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float16)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
        torch.set_default_dtype(before)
    return model.half().eval(), config


def rows_of(name: str, stop: float):
    model, config = load(name)
    for batch, prompt in SIZES:
        if time.perf_counter() > stop:
            return
        common = {"model": name, "batch": batch, "prompt": prompt, "dtype": "fp16"}
        try:
            tokens = torch.randint(0, config.vocab_size, (batch, prompt), device="cuda")
            taken = timed(lambda tokens=tokens: model(tokens, use_cache=True, logits_to_keep=1), 5)
            yield row(common, "eager", "prefill", taken)
            cache = DynamicCache(config=config)
            model(tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
            one = tokens[:, :1].contiguous()
            taken = timed(lambda cache=cache, one=one: model(one, past_key_values=cache, use_cache=True), 10)
            yield row(common, "eager", "decode", taken)
        except torch.cuda.OutOfMemoryError as error:
            print(f"{name} {batch}x{prompt}: out of memory, left out ({str(error)[:60]})")


def row(common: dict, stack: str, phase: str, taken: list[float]) -> dict:
    low, high = min(taken), max(taken)
    return {
        **common,
        "stack": stack,
        "phase": phase,
        "latency_s": statistics.median(taken),
        "low_s": low,
        "high_s": high,
    }


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=400)
    parser.add_argument("--models", nargs="*", default=MODELS)
    options = parser.parse_args()
    # cuDNN plans attention anew for every length of the cache, tens of milliseconds a step: not what is
    # asked here.
    torch.backends.cuda.enable_cudnn_sdp(False)
    stop = time.perf_counter() + options.seconds
    about = {
        "device": torch.cuda.get_device_name(),
        "date": datetime.now(UTC).date().isoformat(),
        "command": "python packages/latency-predictor/benchmarks/measure_stacks.py",
        "versions": {
            "torch": torch.__version__,
            "CUDA": torch.version.cuda,
            "transformers": transformers.__version__,
        },
        "rows": [],
    }
    for name in options.models:
        if time.perf_counter() > stop:
            print(f"{name}: no time left")
            break
        for found in rows_of(name, stop):
            about["rows"].append(found)
            options.output.write_text(json.dumps(about, indent=1) + "\n")
        gc.collect()
        torch.cuda.empty_cache()
        print(f"{name}: {len(about['rows'])} rows, {stop - time.perf_counter():.0f} s left", flush=True)


if __name__ == "__main__":
    main()
