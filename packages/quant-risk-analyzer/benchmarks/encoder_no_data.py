"""An encoder rated without data: ids drawn by their place in the vocabulary, judged by the study's rows.

Run: python encoder_no_data.py FOLDER [--output results/encoder_no_data.json]
     (FOLDER: all-MiniLM-L6-v2 in Hugging Face's layout, as for encoder_study.py)

Vocabularies of WordPiece and BPE are ordered by frequency: id i is drawn with a chance like 1 / (i + 3),
behind the first token and before the last one that the tokenizer adds, special tokens left out (Zipf's law).
Uniform ids are beside it. The bank of sentences that the output compares with is drawn in the same way: no
text at all.
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
from encoder_study import BANK, LENGTH, Encoder
from rank_rows import ROWS, loaded

from quant_risk_analyzer.agreement import bootstrap_interval, rank_agreement

NAME = "all-MiniLM-L6-v2"
WINDOWS, PROBES, SHIFT, SEED = 64, 4, 3, 0


def drawn(tokenizer: Any, count: int, *, zipf: bool, seed: int) -> torch.Tensor:
    """Token ids (count, LENGTH) between the encoder's first and last token."""
    first, last = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    # What stands before the first ordinary character is special or unused.
    start = tokenizer.token_to_id("!")
    places = np.arange(tokenizer.get_vocab_size() - start)
    weights = 1 / (places + SHIFT) if zipf else np.ones(len(places))
    generator = np.random.default_rng(seed)
    ids = start + generator.choice(len(places), (count, LENGTH), p=weights / weights.sum())
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
    roles = {layer["name"]: layer["role"] for layer in row["layers"]}
    sites, kinds = linear_sites(model), formats_named(row["formats"])
    agreement: dict[str, Any] = {}
    for label, zipf in (("Zipf by token id", True), ("uniform ids", False)):
        with torch.no_grad():
            model.bank = model.embedding(drawn(tokenizer, BANK, zipf=zipf, seed=SEED + 1))
        found = score_products(
            model,
            drawn(tokenizer, WINDOWS, zipf=zipf, seed=SEED),
            lambda name: errors_of(sites[name].weight, kinds, "channel"),
            sites,
            probes=PROBES,
        )
        agreement[label] = {}
        for at, kind in enumerate(row["formats"]):
            truth = {layer["name"]: layer["kl"][kind] for layer in row["layers"]}
            score = {name: float((found[name].scores[at] ** 2).mean()) for name in truth}
            each = rank_agreement(score, truth, roles)
            low, high = bootstrap_interval(np.array([[score[name], truth[name]] for name in truth]))
            agreement[label][kind] = {
                "overall": each.overall,
                "overall_low": low,
                "overall_high": high,
                "within role": each.within_role,
                "worst tenth found": each.top_decile_recall,
            }
        print(label, json.dumps(agreement[label]), flush=True)
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


if __name__ == "__main__":
    main()
