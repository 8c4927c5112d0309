"""Bits by risk where the study's rows have the risks already, and the KL that a GPU measured: SmolLM2.

Run: python allocation_rows.py MODEL NAME OUTPUT.json [--tokens 512] [--seconds S]

The rows hold int4 with a scale for each output channel; the mixes have int3, int4 and int5 with a scale for
128 inputs. Risk and measured KL of a layer are both scaled by its squared steps, which is how the error of
rounding grows. The oracle allocates by the KL of the rows, measured on the text "in-domain"; all assignments
are judged together, all layers quantized, on the text "out-of-domain", which no score has seen. Uniform bits:
one format with a scale of 16 bits for 32 weights, 3.5 or 4.5 bits exactly. A call goes on with what the
output does not have yet.
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
from allocation_study import BUDGETS, GROUP, ORACLE, UNIFORM_GROUP, blind_mix
from rank_rows import ROWS, loaded
from rank_tables import damage, predicted

from quant_risk_analyzer import FormatRisk, LayerRisk, RiskReport, Thresholds, allocate
from quant_risk_analyzer.together import measure_together

FORMATS = {"int3": 3, "int4": 7, "int5": 15}  # largest number of each
ROWS_FORMAT = "int4"


def steps(weight: Any, group: int | None) -> float:
    """Mean square of the largest weight of each group of inputs, or of each output channel."""
    tops = np.abs(np.asarray(weight, np.float32))
    parts = [tops] if group is None else np.split(tops, range(group, tops.shape[1], group), axis=1)
    squares = [part.max(1).astype(np.float64) ** 2 * part.shape[1] for part in parts]
    return float(sum(each.sum() for each in squares) / tops.size)


def report_of(row: dict[str, Any], values: dict[str, float], ratios: dict[str, float]) -> RiskReport:
    """The rows as `allocate` takes them, risks scaled from int4 a channel to each format in groups."""
    layers = tuple(
        LayerRisk(
            layer["name"],
            tuple(layer["shape"]),
            layer["role"],
            {
                kind: FormatRisk(risk, risk, risk, "", 0.0, 0.0, 0.0, False, ())
                for kind, top in FORMATS.items()
                for risk in (
                    values[layer["name"]] * ratios[layer["name"]] * (FORMATS[ROWS_FORMAT] / top) ** 2,
                )
            },
        )
        for layer in row["layers"]
    )
    return RiskReport(layers, tuple(FORMATS), GROUP, "", "", 0, 0, 0, 0, Thresholds(), {})


def plans(row: dict[str, Any], model: Any, budget: tuple[float, str, str]) -> dict[str, dict[str, str]]:
    """Assignments by name; all fit the same bytes."""
    bits, low, high = budget
    ratios = {
        name: steps(layer.weight.detach(), GROUP) / steps(layer.weight.detach(), None)
        for name, layer in model.linear_layers().items()
    }
    sources = {
        "by risk, own samples": predicted(row, "own samples", ROWS_FORMAT),
        ORACLE: damage(row, ROWS_FORMAT),
    }
    reports = {name: report_of(row, values, ratios) for name, values in sources.items()}
    return {
        f"{low} everywhere, groups of {UNIFORM_GROUP}": dict.fromkeys(ratios, low),
        **{name: dict(allocate(each, average_bits=bits).assignment) for name, each in reports.items()},
        "blind mix 0": blind_mix(reports[ORACLE], bits, low, high, 0),
    }


def main() -> None:
    """Judge one assignment after the other, write after each."""
    from checkpoint_lens import load_model, reference_text

    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("name")
    parser.add_argument("output", type=Path)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    options = parser.parse_args()
    (row,) = [each for each in loaded(ROWS) if each["model"] == options.name]
    known = json.loads(options.output.read_text(encoding="utf-8")) if options.output.exists() else {}
    until, model = time.monotonic() + options.seconds, load_model(options.model)
    budgets = known.get("budgets", {})
    for budget in reversed(BUDGETS):
        judged = budgets.setdefault(f"{budget[0]} bits", {"judged": {}, "gap_closed": {}})["judged"]
        for name, assignment in plans(row, model, budget).items():
            if name in judged or time.monotonic() > until:
                continue
            found = measure_together(
                model,
                reference_text("out-of-domain"),
                assignment,
                granularity=UNIFORM_GROUP if "everywhere" in name else GROUP,
                max_tokens=options.tokens,
            )
            judged[name] = found.to_dict()
            print(budget[0], name, round(found.kl, 4), round(found.perplexity, 3), flush=True)
            if ORACLE in judged:
                uniform, oracle = next(iter(judged.values()))["kl"], judged[ORACLE]["kl"]
                own = judged["by risk, own samples"]["kl"]
                budgets[f"{budget[0]} bits"]["gap_closed"] = {
                    "by risk, own samples": (uniform - own) / (uniform - oracle)
                }
            result = {
                "model": options.name,
                "device": f"CPU, {platform.machine()}; the oracle: {row['device'].partition(';')[0]}",
                "torch": torch.__version__,
                "date": time.strftime("%Y-%m-%d"),
                "command": f"allocation_rows.py MODEL {options.name} OUTPUT.json --tokens {options.tokens}",
                "formats": list(FORMATS),
                "budgets": budgets,
            }
            options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
