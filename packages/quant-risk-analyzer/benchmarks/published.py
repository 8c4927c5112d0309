"""A model's perplexity in full precision and under four 4-bit roundings, beside published rows: opt-1.3b.

Run: python published.py MODEL TEXT CALIBRATION OUTPUT.json
(MODEL: a folder with the weights of facebook/opt-1.3b, TEXT: the test split of WikiText-2, its lines joined
by two newlines, CALIBRATION: text of its training split, for GPTQ; about 15 GB of memory)

The published rows: round-to-nearest and GPTQ with one scale a row from the tables of the GPTQ paper,
groups of 128 from an independent benchmark. They are judged at a context of 2048. On another model, such as
`reference` with `reference:in-domain`, the numbers are printed without targets.
"""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path

import torch

from checkpoint_lens import load_model, perplexity, read_text, second_moments
from quant_risk_analyzer import gptq, quantize

TARGETS = {
    "full precision": 14.62,
    "int4 a row": 48.17,
    "int4 groups of 128": 15.29,
    "GPTQ int4 a row": 15.47,
}
CONTEXT, CALIBRATION_TOKENS = 2048, 128 * 2048


def main() -> None:
    name, text, calibration, target = sys.argv[1], *map(read_text, sys.argv[2:4]), Path(sys.argv[4])
    if text == calibration:
        raise SystemExit("the calibration text is the evaluation text: GPTQ would be judged on what it saw")
    model = load_model(name, dtype="float32")
    context = min(CONTEXT, int(model.config.get("max_position_embeddings", CONTEXT)))
    layers = {name: layer for name, layer in model.linear_layers().items() if "lm_head" not in name}
    full = {name: layer.weight.detach().clone() for name, layer in layers.items()}
    moments = second_moments(model, calibration, context=context, max_tokens=CALIBRATION_TOKENS)

    def by_gptq(name: str) -> torch.Tensor:
        found = moments[name]
        return torch.from_numpy(gptq(full[name].numpy(), found.gram / found.tokens, "int4", scales="newton"))

    roundings = {
        "full precision": lambda name: full[name],
        "int4 a row": lambda name: quantize(full[name], "int4", symmetric=False).dequantized,
        "int4 groups of 128": lambda name: (
            quantize(full[name], "int4", granularity=128, symmetric=False).dequantized
        ),
        "GPTQ int4 a row": by_gptq,
    }
    answer = {"date": str(date.today()), "model": name, "context": context, "perplexity": {}}
    for label, rounding in roundings.items():
        for each, layer in layers.items():
            layer.weight.data = rounding(each).to(full[each])
        found = perplexity(model, text, context=context)
        row = {"perplexity": found.perplexity, "tokens": found.tokens}
        if "opt-1.3b" in name.lower():
            row |= {"published": TARGETS[label], "ratio": found.perplexity / TARGETS[label]}
        answer["perplexity"][label] = row
        target.write_text(json.dumps(answer, indent=1) + "\n")
        print(label, row)


if __name__ == "__main__":
    main()
