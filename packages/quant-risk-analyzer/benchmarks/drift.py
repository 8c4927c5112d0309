"""Predicted against measured drift of singular values on whole models: precision, recall, accuracy, bounds.

Run: python drift.py OUTPUT.json MODEL [MODEL ...]      (CPU; "reference" is the bundled model)

`simulated` is what nobody can beat who knows the step and not the rounding errors: the median over draws of
uniform noise of that step, judged as the prediction is (the bundled model's int3 only; it is slow).
"""

from __future__ import annotations

import json
import platform
import sys
from datetime import date
from pathlib import Path

import numpy as np

from checkpoint_lens import open_checkpoint
from quant_risk_analyzer.drift import LIMIT, drifts, relative_drift, singular_values
from quant_risk_analyzer.formats import FORMATS, IntegerFormat

NAMES = ("int8", "int4", "int3")
DRAWS = 8


def judged(predicted, measured):
    said, true = np.asarray(predicted) > LIMIT, np.asarray(measured) > LIMIT
    return {
        "rows": len(true),
        "over": int(true.sum()),
        "precision": float((said & true).sum() / max(1, said.sum())),
        "recall": float((said & true).sum() / max(1, true.sum())),
        "accuracy": float((said == true).mean()),
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


def main() -> None:
    target, models = Path(sys.argv[1]), sys.argv[2:]
    answer = {"date": str(date.today()), "device": platform.processor() or platform.machine(), "models": {}}
    for model in models:
        rows = drifts(model, formats=NAMES)
        ratio = [row.predicted / row.measured for row in rows if row.measured > 0]
        entry = judged([row.predicted for row in rows], [row.measured for row in rows])
        entry["predicted_over_measured"] = dict(
            zip(("p5", "median", "p95"), np.percentile(ratio, [5, 50, 95]).tolist(), strict=True)
        )
        entry["bound_violations"] = sum(row.measured > row.bound for row in rows)
        if model == "reference":
            noise = simulated(model)
            int3 = [row for row in rows if row.format == "int3"]
            entry["int3"] = judged([row.predicted for row in int3], [row.measured for row in int3])
            entry["int3_simulated"] = judged(
                [noise[row.name] for row in int3], [row.measured for row in int3]
            )
        answer["models"][Path(model).name] = entry
        target.write_text(json.dumps(answer, indent=1))
    print(json.dumps(answer, indent=1))


if __name__ == "__main__":
    main()
