"""FLOP of small models of many architectures: ours beside torch.utils.flop_counter, on meta tensors.

    python packages/roofline/benchmarks/flop_counts.py

Needs transformers. Exit code 1 where any count differs.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from roofline import trace

TABLE = Path(__file__).parents[1] / "tests" / "architectures.toml"
SMALL = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 97,
    "max_position_embeddings": 64,
}
CLASSES = {
    "causal": transformers.AutoModelForCausalLM,
    "masked": transformers.AutoModelForMaskedLM,
    "sequence": transformers.AutoModelForSeq2SeqLM,
    "image": transformers.AutoModelForImageClassification,
}


def built(name: str, keys: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A model on meta and arguments for it."""
    keys = dict(keys)
    kind = keys.pop("kind", "causal")
    config = transformers.AutoConfig.for_model(name, **({} if kind == "image" else SMALL) | keys)
    with torch.device("meta"):
        model = CLASSES[kind].from_config(config, attn_implementation="eager").eval()
        if kind == "image":
            return model, {"pixel_values": torch.empty(2, 3, 32, 32)}
        tokens = torch.zeros(2, 11, dtype=torch.long)
    given = {"input_ids": tokens, "use_cache": False}
    if kind == "masked":
        given.pop("use_cache")
    if kind == "sequence":
        given["decoder_input_ids"] = tokens
    if any("expert" in key for key in keys):
        # As batched products: flop_counter counts no grouped ones (trace does).
        model.set_experts_implementation("batched_mm")
    return model, given


def counts(name: str, keys: dict[str, Any]) -> tuple[int, int]:
    """(ours, theirs): both look at the same run."""
    model, given = built(name, keys)
    with FlopCounterMode(display=False) as counter:
        ours = trace(model, **given).product_flop
    return ours, counter.get_total_flops()


def main() -> int:
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    wrong = 0
    for name, keys in table.items():
        try:
            ours, theirs = counts(name, keys)
        except Exception as error:
            print(f"{name:14} {type(error).__name__}: {str(error)[:150]}")
            wrong += 1
            continue
        wrong += ours != theirs
        print(f"{name:14} {ours:>12} {theirs:>12} {'equal' if ours == theirs else 'DIFFERENT'}")
    print(f"{len(table) - wrong} of {len(table)} equal")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
