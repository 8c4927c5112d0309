"""A model that is slow to score: its own samples in chunks, and the row of the study made from them.

Run: python own_chunks.py score MODEL CHUNKS.json [--chunks 8]
     python own_chunks.py join CHUNKS.json NAME OUTPUT.json [--truth TRUTH.json]

A chunk is 512 tokens that the model wrote; a call goes on from those that the file holds. `join` takes the
row NAME of `results/rank_rows.csv` (of texts, random tokens and other tools, which its weights decide),
the damage that truth_rows.py measured, and the chunks, and writes a file as rank_study.py does.
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
from rank_rows import ROWS, loaded
from rank_study import FORMATS, joined_truth
from ways import PROBES, WAYS, ids_of

SCORE, TOKENS = "own samples", 512


def chunk(model: Any, number: int) -> dict[str, list[float]]:
    """Risk by layer, one number a format, nats per token, from one chunk."""
    from quant_risk_analyzer.formats import formats_named
    from quant_risk_analyzer.gauss_newton import score_products
    from quant_risk_analyzer.risk import errors_of
    from quant_risk_analyzer.sites import linear_sites

    sites, kinds = linear_sites(model), formats_named(FORMATS)
    ids = ids_of(model, WAYS[SCORE], tokens=TOKENS, seed=100 + number)
    found = score_products(
        model,
        ids,
        lambda name: errors_of(sites[name].weight, kinds, "channel"),
        sites,
        probes=PROBES,
        seed=number,
    )
    return {
        name: ((each.scores**2).mean((1, 2)) / (2 * ids.shape[1])).tolist() for name, each in found.items()
    }


def score(options: argparse.Namespace) -> None:
    """Chunk by chunk, written after each."""
    from checkpoint_lens import load_model

    model = load_model(options.model)
    known = json.loads(options.output.read_text(encoding="utf-8")) if options.output.exists() else []
    while len(known) < options.chunks:
        started = time.perf_counter()
        known.append(chunk(model, len(known)))
        options.output.write_text(json.dumps(known) + "\n", encoding="utf-8")
        print(f"{len(known)} chunks, {time.perf_counter() - started:.0f} s", flush=True)


def join(options: argparse.Namespace) -> None:
    """The row with the new damage and the new own samples."""
    chunks = json.loads(options.chunks.read_text(encoding="utf-8"))
    (row,) = [each for each in loaded(ROWS) if each["model"] == options.name]
    for layer in row["layers"]:
        for at, kind in enumerate(row["formats"]):
            own = float(np.mean([each[layer["name"]][at] for each in chunks]))
            layer["scores"].setdefault(SCORE, {})[kind] = own
    if options.truth:
        truth = joined_truth(options.truth)
        damages = {(each.name, each.format): each for each in truth.layers}
        for layer in row["layers"]:
            found = [damages[layer["name"], kind] for kind in row["formats"]]
            layer["kl"] = {each.format: each.kl for each in found}
            layer["kl_stderr"] = {each.format: each.kl_stderr for each in found}
        row |= {"tokens": truth.tokens, "loss": truth.loss}
    row["date"] = time.strftime("%Y-%m-%d")
    row["device"] = f"{row['device']}; own samples: {len(chunks) * TOKENS} tokens, CPU, {platform.machine()}"
    row["torch"] = row["torch"].partition(" ")[0] + f" and {torch.__version__}"
    options.output.write_text(json.dumps(row) + "\n", encoding="utf-8")


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser()
    kinds = parser.add_subparsers(required=True)
    scoring, joining = kinds.add_parser("score"), kinds.add_parser("join")
    scoring.add_argument("model")
    scoring.add_argument("output", type=Path)
    scoring.add_argument("--chunks", type=int, default=8)
    scoring.set_defaults(call=score)
    joining.add_argument("chunks", type=Path)
    joining.add_argument("name")
    joining.add_argument("output", type=Path)
    joining.add_argument("--truth", type=Path)
    joining.set_defaults(call=join)
    options = parser.parse_args()
    options.call(options)


if __name__ == "__main__":
    main()
