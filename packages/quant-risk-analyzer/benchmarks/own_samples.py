"""The risk without data, from exact samples of the model itself, against the damage in the study's rows.

Run: python own_samples.py MODEL NAME [--chunks 8] [--probes 4] [--output results/own_samples.json]

The rows of the study hold "own samples" drawn by four rounds for all positions at once, as `rate` did then;
it draws position by position now. MODEL is what `load_model` takes, NAME its name in the rows. 512 tokens are
a chunk: a call goes on from the chunks that the output holds, so that it can be stopped and run in pieces.
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
from calibrate import LIKELY, UNLIKELY
from rank_rows import ROWS, loaded

from quant_risk_analyzer.agreement import bootstrap_interval, rank_agreement, top_decile
from quant_risk_analyzer.confidence import damage_interval, top_decile_chances

RESULT = ROWS.with_name("own_samples.json")
LENGTH, WINDOWS = 64, 8  # of one chunk


def chunk(model: Any, kinds: Any, sites: Any, number: int, probes: int) -> dict[str, list[float]]:
    """Risk by layer, one number a format, nats per token, from one chunk's samples."""
    from quant_risk_analyzer.gauss_newton import score_products
    from quant_risk_analyzer.risk import errors_of
    from quant_risk_analyzer.texts import own_windows

    ids = own_windows(model, windows=WINDOWS, length=LENGTH, seed=100 + number, rounds=4)
    found = score_products(
        model,
        ids,
        lambda name: errors_of(sites[name].weight, kinds, "channel"),
        sites,
        probes=probes,
        seed=number,
    )
    return {name: ((each.scores**2).mean((1, 2)) / (2 * LENGTH)).tolist() for name, each in found.items()}


def judged(chunks: list[dict[str, list[float]]], row: dict[str, Any]) -> dict[str, Any]:
    """Agreement and bias by format: of the recorded rounds' scores, and of these."""
    roles = {layer["name"]: layer["role"] for layer in row["layers"]}
    found: dict[str, Any] = {}
    for at, kind in enumerate(row["formats"]):
        truth = {layer["name"]: layer["kl"][kind] for layer in row["layers"]}
        scores = {
            "text": {layer["name"]: layer["scores"]["text"][kind] for layer in row["layers"]},
            "four rounds": {layer["name"]: layer["scores"]["own samples"][kind] for layer in row["layers"]},
            "exact": {name: float(np.mean([each[name][at] for each in chunks])) for name in truth},
        }
        found[kind] = {}
        for label, score in scores.items():
            each = rank_agreement(score, truth, roles)
            low, high = bootstrap_interval(np.array([[score[name], truth[name]] for name in truth]))
            off = np.log([truth[name] / score[name] for name in truth])
            found[kind][label] = {
                "overall": each.overall,
                "overall_low": low,
                "overall_high": high,
                "within role": each.within_role,
                "worst tenth found": each.top_decile_recall,
                "log_bias": float(np.median(off)),
                "log_deviation": float(off.std()),
            }
        found[kind]["calibration"] = _calibration(scores["exact"], truth)
    return found


def _calibration(score: dict[str, float], truth: dict[str, float]) -> dict[str, float]:
    """The constants that calibrate.py fitted on samples of four rounds, judged on exact ones."""
    chances, worst = top_decile_chances(score, "own samples"), top_decile(truth)
    c = [name in worst for name, chance in chances.items() if chance >= LIKELY]
    a = [name in worst for name, chance in chances.items() if chance <= UNLIKELY]
    inside = []
    for name, risk in score.items():
        low, high = damage_interval(risk, "own samples")
        inside.append(low <= truth[name] <= high)
    return {
        "brier": float(np.mean([(chance - (name in worst)) ** 2 for name, chance in chances.items()])),
        "layers_in_c": len(c),
        "truly_in_c": sum(c),
        "layers_in_a": len(a),
        "truly_in_a": sum(a),
        "layers": len(score),
        "in_interval": sum(inside),
    }


def main() -> None:
    """Score chunk by chunk, judge, write after each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("name")
    parser.add_argument("--chunks", type=int, default=8)
    parser.add_argument("--probes", type=int, default=4)
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    from checkpoint_lens import load_model
    from quant_risk_analyzer.formats import formats_named
    from quant_risk_analyzer.sites import linear_sites

    (row,) = [each for each in loaded(options.rows) if each["model"] == options.name]
    model = load_model(options.model)
    sites, kinds = linear_sites(model), formats_named(row["formats"])
    known = json.loads(options.output.read_text(encoding="utf-8")) if options.output.exists() else {}
    chunks = known.get(options.name, {}).get("chunks", [])
    while len(chunks) < options.chunks:
        started = time.process_time()
        chunks.append(chunk(model, kinds, sites, len(chunks), options.probes))
        known[options.name] = {
            "device": f"CPU, {platform.machine()}",
            "torch": torch.__version__,
            "date": time.strftime("%Y-%m-%d"),
            "command": f"own_samples.py MODEL {options.name} --probes {options.probes}",
            "measured_on": row["device"],
            "tokens": len(chunks) * LENGTH * WINDOWS,
            "probes": options.probes,
            "agreement": judged(chunks, row),
            "chunks": [
                {name: [float(f"{each:.5g}") for each in values] for name, values in part.items()}
                for part in chunks
            ],
        }
        options.output.write_text(json.dumps(known) + "\n", encoding="utf-8")
        shown = {kind: each["exact"] for kind, each in known[options.name]["agreement"].items()}
        print(f"{len(chunks)}: {time.process_time() - started:.0f} s of CPU", json.dumps(shown), flush=True)


if __name__ == "__main__":
    main()
