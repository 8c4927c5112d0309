"""An encoder rated without data: ids drawn by their place in the vocabulary, judged by the study's rows.

Run: python encoder_no_data.py FOLDER [--output results/encoder_no_data.json]
     (FOLDER: all-MiniLM-L6-v2 in Hugging Face's layout, as for encoder_study.py)

Four ways, between the first token and the last one that the tokenizer adds, special tokens left out: uniform
ids; ids by Zipf's law, since vocabularies are ordered by frequency, id i with a chance like 1 / (i + 3);
uniform ids of which each window holds a few only, again and again, as a text does with its words; and what
the language model that comes with checkpoint-lens writes: an encoder cannot write, but it can read. The bank
of sentences that the output compares with is drawn in the same way: no text at all. A window has one output,
so that the noise of the label draws is large: more draws than for a language model.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from encoder_study import BANK, LENGTH, Encoder, sentences, written
from rank_rows import ROWS, loaded

from quant_risk_analyzer.agreement import bootstrap_interval, rank_agreement

NAME = "all-MiniLM-L6-v2"
WINDOWS, PROBES, SHIFT, SEED = 128, 16, 3, 0
WRITTEN = "written by the bundled model"
WAYS = ("uniform ids", "Zipf by token id", "few ids a window", WRITTEN)
FEW = 8  # ids of which a window of the third way is made


def drawn(tokenizer: Any, count: int, *, way: str, seed: int) -> torch.Tensor:
    """Token ids (count, LENGTH) between the encoder's first and last token."""
    if way == WRITTEN:
        return sentences(tokenizer, written(count * LENGTH, seed), count)
    first, last = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    # What stands before the first ordinary character is special or unused.
    start = tokenizer.token_to_id("!")
    places = np.arange(tokenizer.get_vocab_size() - start)
    weights = 1 / (places + SHIFT) if way == "Zipf by token id" else np.ones(len(places))
    generator = np.random.default_rng(seed)
    ids = start + generator.choice(len(places), (count, LENGTH), p=weights / weights.sum())
    if way == "few ids a window":
        ids = np.take_along_axis(ids, generator.integers(0, FEW, (count, LENGTH)), 1)
    ids[:, 0], ids[:, -1] = first, last
    return torch.from_numpy(ids)


def main() -> None:
    """Score, judge, print, write."""
    import tokenizers
    import transformers

    from quant_risk_analyzer.formats import formats_named
    from quant_risk_analyzer.gauss_newton import score_products
    from quant_risk_analyzer.risk import errors_of
    from quant_risk_analyzer.sites import linear_sites

    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, default=ROWS.with_name("encoder_no_data.json"))
    options = parser.parse_args()
    tokenizer = tokenizers.Tokenizer.from_file(str(options.folder / "tokenizer.json"))
    inner = transformers.BertModel.from_pretrained(
        options.folder, add_pooling_layer=False, local_files_only=True
    )
    model = Encoder(inner.eval().requires_grad_(False))
    (row,) = [each for each in loaded(ROWS) if each["model"] == NAME]
    sites, kinds = linear_sites(model), formats_named(row["formats"])
    known = json.loads(options.output.read_text(encoding="utf-8")) if options.output.exists() else {}
    agreement: dict[str, Any] = known.get("agreement", {})
    for way in WAYS:
        if way in agreement:
            continue
        with torch.no_grad():
            model.bank = model.embedding(drawn(tokenizer, BANK, way=way, seed=SEED + 1))
        found = score_products(
            model,
            drawn(tokenizer, WINDOWS, way=way, seed=SEED),
            lambda name: errors_of(sites[name].weight, kinds, "channel"),
            sites,
            probes=PROBES,
        )
        agreement[way] = {
            kind: _judged(
                {name: float((each.scores[at] ** 2).mean()) for name, each in found.items()}, row, kind
            )
            for at, kind in enumerate(row["formats"])
        }
        print(way, json.dumps(agreement[way]), flush=True)
        result = {
            "model": NAME,
            "device": f"CPU, {platform.machine()}",
            "torch": torch.__version__,
            "date": time.strftime("%Y-%m-%d"),
            "command": "encoder_no_data.py FOLDER",
            "windows": WINDOWS,
            "length": LENGTH,
            "probes": PROBES,
            "agreement": agreement,
        }
        options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _judged(score: dict[str, float], row: dict[str, Any], kind: str) -> dict[str, float]:
    truth = {layer["name"]: layer["kl"][kind] for layer in row["layers"]}
    each = rank_agreement(score, truth, {layer["name"]: layer["role"] for layer in row["layers"]})
    low, high = bootstrap_interval(np.array([[score[name], truth[name]] for name in truth]))
    return {
        "overall": each.overall,
        "overall_low": low,
        "overall_high": high,
        "within role": each.within_role,
        "worst tenth found": each.top_decile_recall,
    }


if __name__ == "__main__":
    main()
