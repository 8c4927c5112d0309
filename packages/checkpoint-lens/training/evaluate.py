# ruff: noqa: T201 - a recipe: it prints its table
"""Judges the shipped weights on the shipped texts; writes reference/evaluation.json, which the card quotes.

Run: python evaluate.py       (on the CPU, float32, from the float16 weights; needs the package brotli)
"""

import gzip
import json
import lzma
import math
from pathlib import Path
from typing import Any

import brotli
import torch
from model import Llama
from safetensors.torch import load_file
from shape import CONFIG
from tokenizers import Tokenizer
from torch import Tensor, nn
from train import CONTEXT, SEED

REFERENCE = Path(__file__).parent.parent / "src" / "checkpoint_lens" / "reference"
TEXTS = ("in_domain", "out_of_domain")
SLICE_WINDOWS = 8  # a test judges these again
PROMPT = "The quick brown fox jumps over the lazy dog."
COMPRESSORS = {
    "gzip -9": lambda data: gzip.compress(data, 9, mtime=0),
    "xz -9e": lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME),
    "brotli -q 11 -w 24": lambda data: brotli.compress(data, quality=11, lgwin=24),
}


def write_config() -> None:
    """config.json and generation_config.json beside the weights."""
    generation = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    for name, content in (("config", CONFIG), ("generation_config", generation)):
        (REFERENCE / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def trained() -> Llama:
    """The shipped model in float32."""
    model = Llama(CONFIG)
    model.load_state_dict(
        {name: value.float() for name, value in load_file(REFERENCE / "model.safetensors").items()}
    )
    return model.eval()


def untrained() -> Llama:
    """The weights that training started from."""
    torch.manual_seed(SEED)
    return Llama(CONFIG).eval()


@torch.inference_mode()
def score(model: Llama, tokenizer: Tokenizer, text: str, *, windows: int | None = None) -> dict[str, float]:
    """Bits per byte over windows of 512 tokens, whose first token is read and not judged.

    `bits_per_byte` is over the judged bytes, as `checkpoint-lens perplexity` reports it;
    `whole_text_bits_per_byte` charges 8 bits for each byte that was not judged, to compare with a compressor.
    """
    encoding = tokenizer.encode(text, add_special_tokens=False)
    ids = torch.tensor(encoding.ids[: None if windows is None else windows * CONTEXT])
    nats, judged, tokens = 0.0, 0, 0
    for start in range(0, len(ids), CONTEXT):
        block = ids[start : start + CONTEXT]
        if len(block) > 1:
            nats += float(nn.functional.cross_entropy(model(block[None, :-1])[0], block[1:], reduction="sum"))
            tokens += len(block) - 1
            first, last = encoding.offsets[start][1], encoding.offsets[start + len(block) - 1][1]
            judged += len(text[first:last].encode())
    total = len(text[: encoding.offsets[len(ids) - 1][1]].encode())
    bits = nats / math.log(2)
    return {
        "loss": nats / tokens,
        "tokens": tokens,
        "bits_per_byte": bits / judged,
        "whole_text_bits_per_byte": (bits + 8 * (total - judged)) / total,
    }


def spectrum(weight: Tensor) -> dict[str, float]:
    """How fast the singular values fall: share of the energy in the first k, and entropy's effective rank."""
    values = torch.linalg.svdvals(weight.double())
    energy = (values**2).cumsum(0) / (values**2).sum()
    share = values / values.sum()
    ranks = {f"energy_rank_{k}": float(energy[k - 1]) for k in (8, 16, 32, 64, 128)}
    effective = float(torch.exp(-(share * share.clamp_min(1e-30).log()).sum()))
    return {**ranks, "last_over_first": float(values[-1] / values[0]), "effective_rank": effective}


def spectra(model: Llama) -> dict[str, dict[str, float]]:
    """Spectra of the query projections of the first, a middle and the last layer."""
    layers = model.model.layers
    return {
        f"model.layers.{i}.self_attn.q_proj": spectrum(layers[i].self_attn.q_proj.weight.detach())
        for i in (0, 4, 7)
    }


def main() -> None:
    write_config()
    tokenizer = Tokenizer.from_file(str(REFERENCE / "tokenizer.json"))
    model, start = trained(), untrained()
    rows: dict[str, Any] = {}
    for name in TEXTS:
        text = (REFERENCE / f"{name}.txt").read_text(encoding="utf-8")
        data = text.encode()
        row: dict[str, Any] = {"text_bytes": len(data), "trained": score(model, tokenizer, text)}
        row["untrained"] = score(start, tokenizer, text)
        row["slice"] = score(model, tokenizer, text, windows=SLICE_WINDOWS)
        row["compressors"] = {tool: 8 * len(pack(data)) / len(data) for tool, pack in COMPRESSORS.items()}
        rows[name] = row
        best = row["trained"]
        print(
            f"{name:14} model {best['bits_per_byte']:.4f} (whole {best['whole_text_bits_per_byte']:.4f})",
            end="",
        )
        print(f"  untrained {row['untrained']['bits_per_byte']:.3f}", row["compressors"], flush=True)
    ids = tokenizer.encode(PROMPT).ids
    with torch.inference_mode():
        logits = model(torch.tensor([ids]))[0, -1]
    record = {
        "context": CONTEXT,
        "slice_windows": SLICE_WINDOWS,
        "texts": rows,
        "spectra": {"trained": spectra(model), "untrained": spectra(start)},
        "prompt": {
            "text": PROMPT,
            "ids": ids,
            "last_logits_head": logits[:16].tolist(),
            "argmax": int(logits.argmax()),
        },
    }
    (REFERENCE / "evaluation.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record["spectra"], indent=1))


if __name__ == "__main__":
    main()
