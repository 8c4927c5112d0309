"""Predicted against measured drift of whole models: precision, recall, accuracy, bounds.

Run: python drift.py OUTPUT.json MODEL [MODEL ...] [--granularity channel,tensor,32] [--seconds S]
                        [--workers N]

CPU; "reference" is the bundled model. Rows are kept in OUTPUT.rows.json as they are done: a run cut off by
`--seconds` goes on where it stopped. `layers` is judged by the larger of both spectra, as the product
does; `singular` and `eigenvalues` apart. `simulated` is what nobody can beat who knows the step and not the
rounding errors: the median over draws of uniform noise of that step, judged as the prediction of the singular
values is (int3 per channel of the bundled model).
`--fit` prints instead how the constant of `eigenvalue_drift` was chosen: on simulated noise, no model.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import sys
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from datetime import date
from pathlib import Path

import numpy as np

from checkpoint_lens import open_checkpoint
from quant_risk_analyzer import eigenvalue_drift
from quant_risk_analyzer.drift import LIMIT, layer_drifts, relative_drift, singular_values
from quant_risk_analyzer.formats import FORMATS, IntegerFormat, formats_named

NAMES = ("int8", "int4", "int3")
DRAWS = 8
REACHES = (0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.3, 1e6)
LEVELS = (0.003, 0.01, 0.03, 0.1, 0.3)  # of the noise, in deviations of the weight


def judged(rows, spectrum):
    """Precision, recall and accuracy of one kind of drift; None where a layer has none."""
    prefix = {"layers": "", "singular": "singular_", "eigenvalues": "eigenvalue_"}[spectrum]
    pairs = np.array(
        [(row[prefix + "predicted"], row[prefix + "measured"]) for row in rows if row[prefix + "measured"]],
        np.float64,
    )
    said, true = (pairs > LIMIT).T
    return {
        "rows": len(true),
        "over": int(true.sum()),
        "precision": float((said & true).sum() / max(1, said.sum())),
        "recall": float((said & true).sum() / max(1, true.sum())),
        "accuracy": float((said == true).mean()),
        "predicted_over_measured": dict(
            zip(("p5", "median", "p95"), np.percentile(pairs[:, 0] / pairs[:, 1], [5, 50, 95]), strict=True)
        ),
    }


def simulated(model):
    """Median drift under uniform noise of the step of int3, by layer."""
    kind = FORMATS["int3"]
    assert isinstance(kind, IntegerFormat)
    checkpoint, generator = open_checkpoint(model), np.random.default_rng(0)
    found = {}
    for layer in checkpoint.linear_layers():
        W = np.asarray(checkpoint[layer.tensor], np.float64)
        step, before = np.abs(W).max(1, keepdims=True) / kind.limit, singular_values(W)
        draws = [
            relative_drift(before, singular_values(W + generator.uniform(-0.5, 0.5, W.shape) * step))
            for _ in range(DRAWS)
        ]
        found[layer.name] = float(np.median(draws))
    return found


def rows_of(model, layer, granularity):
    """The rows of one layer, one for each format."""
    checkpoint = open_checkpoint(model)
    (stored,) = [each for each in checkpoint.linear_layers() if each.name == layer]
    found = layer_drifts(
        layer,
        np.asarray(checkpoint[stored.tensor], np.float32),
        formats_named(NAMES),
        int(granularity) if granularity.isdigit() else granularity,
    )
    return [{"model": Path(model).name, "granularity": granularity, **row.to_dict()} for row in found]


def measured_rows(model, granularities, kept, until, workers):
    """Rows of the layers that are not done yet, kept after each layer."""
    rows = json.loads(kept.read_text()) if kept.exists() else []
    done, name = {(row["model"], row["granularity"], row["name"]) for row in rows}, Path(model).name
    layers = [layer.name for layer in open_checkpoint(model).linear_layers()]
    left = [(each, layer) for each in granularities for layer in layers if (name, each, layer) not in done]
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        jobs = {pool.submit(rows_of, model, layer, each) for each, layer in left}
        while jobs and time.monotonic() < until:
            ready, jobs = wait(jobs, timeout=1, return_when=FIRST_COMPLETED)
            for job in ready:
                rows += job.result()
            if ready:
                kept.write_text(json.dumps(rows))
        pool.shutdown(cancel_futures=True)
    if jobs:
        sys.exit(f"stopped with {len(jobs)} layers left, {len(rows)} rows kept: run again")
    return [row for row in rows if row["model"] == name]


def fit() -> None:
    """Logarithm of predicted over measured, median and deviation, by noise level, for each constant."""
    generator = np.random.default_rng(0)
    cases = []
    for n in (64, 96, 128):
        for shape in ("flat", "rows", "decay"):
            for outliers in (0, 3):
                W = generator.standard_normal((n, n))
                if shape == "rows":
                    W *= np.exp(0.5 * generator.standard_normal((n, 1)))
                if shape == "decay":
                    U, _, V = np.linalg.svd(W)
                    W = (U * np.exp(-2 * np.arange(n) / n)) @ V * n**0.5
                if outliers:
                    W += 3 * generator.standard_normal((n, 3)) @ generator.standard_normal((3, n))
                system = eigenvalue_drift.Eigensystem.of(W)
                for level in LEVELS:
                    noise = level * W.std()
                    draws = [W + noise * generator.standard_normal((n, n)) for _ in range(3)]
                    drifts = [
                        eigenvalue_drift.measured_eigenvalue_drift(W, each, spectrum=system.values)
                        for each in draws
                    ]
                    cases.append((level, system, n, noise, float(np.median(drifts))))
    for reach in REACHES:
        eigenvalue_drift.REACH = reach
        errors = {level: [] for level in LEVELS}
        for level, system, n, noise, measured in cases:
            predicted = eigenvalue_drift.predicted_from(system, np.ones(n), np.full(n, noise**2))
            errors[level].append(np.log(predicted / measured))
        told = "  ".join(f"{level}: {np.median(e):+.2f} ({np.std(e):.2f})" for level, e in errors.items())
        print(f"{reach:g}  {told}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("target", nargs="?", type=Path)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--granularity", default="channel")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--fit", action="store_true")
    chosen = parser.parse_args()
    if chosen.fit:
        fit()
        return
    granularities, until = chosen.granularity.split(","), time.monotonic() + chosen.seconds
    answer = {
        "command": "python packages/quant-risk-analyzer/benchmarks/drift.py "
        + " ".join([chosen.target.name, *(Path(each).name for each in chosen.models)])
        + f" --granularity {chosen.granularity}",
        "date": str(date.today()),
        "device": f"{platform.machine()} CPU",
        "numpy": np.__version__,
        "formats": list(NAMES),
        "models": {},
    }
    for model in chosen.models:
        kept = chosen.target.with_suffix(".rows.json")
        rows = measured_rows(model, granularities, kept, until, chosen.workers)
        entry = {}
        for each in granularities:
            of = [row for row in rows if row["granularity"] == each]
            kinds = ["layers", "singular"]
            kinds += ["eigenvalues"] if any(row["eigenvalue_measured"] for row in of) else []
            entry[each] = {kind: judged(of, kind) for kind in kinds}
            entry[each]["bound_violations"] = sum(row["singular_measured"] > row["bound"] for row in of)
            entry[each]["by_format"] = {
                name: judged([row for row in of if row["format"] == name], "layers") for name in NAMES
            }
        if len(granularities) > 1:
            entry["all"] = {kind: judged(rows, kind) for kind in ("layers", "singular", "eigenvalues")}
        if model == "reference":
            noise = simulated(model)
            int3 = [row for row in rows if row["format"] == "int3" and row["granularity"] == "channel"]
            entry["int3_simulated"] = judged(
                [{**row, "singular_predicted": noise[row["name"]]} for row in int3], "singular"
            )
        answer["models"][Path(model).name] = entry
        chosen.target.write_text(json.dumps(answer, indent=1) + "\n")
    print(json.dumps(answer, indent=1))


if __name__ == "__main__":
    main()
