"""Calibrates what `rate` says of its confidence, from the measurements of rank_study.py.

Run: python calibrate.py [ROWS OUTPUT.json]
     (by default from results/rank_rows.csv to src/quant_risk_analyzer/calibration.json)

Half of the zoo's families fit, the other half judges, and so do the models that the study did not train.
For each tier: the logistic curve from the risk to the chance of being in the worst tenth, its Brier score and
the shares of true ones among C and A; bias and spread of log(measured / predicted); for the weights alone, a
constant for each role.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rank_rows import ROWS, loaded
from rank_tables import damage, learned, predicted
from scipy.optimize import minimize

from quant_risk_analyzer.agreement import top_decile
from quant_risk_analyzer.confidence import border_of_worst

CALIBRATION = Path(__file__).parents[1] / "src" / "quant_risk_analyzer" / "calibration.json"
SCORES = {"random tokens": "random tokens", "own samples": "own samples", "calibration text": "text"}
FORMATS = ("int4", "int3", "fp8_e4m3")
LEAST_KL = 1e-9  # nats per token: below, float32 has no digits left
UNLIKELY, LIKELY = 0.02, 0.5


def split(models: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(fit, judge): every other family and the reference model fit; the others judge."""
    families = list(
        dict.fromkeys(model["family"] for model in models if model.get("recipe") and learned(model))
    )
    fitting = set(families[::2])
    models = [model for model in models if "own samples" in model["layers"][0]["scores"]]  # no encoders
    fit = [model for model in models if model.get("recipe") and learned(model) and model["family"] in fitting]
    judge = [model for model in models if learned(model) and model not in fit]
    # One model that learned for longer: its layers are further from the estimates than the zoo's.
    fit += [model for model in models if model["model"] == "reference"]
    return fit, [model for model in judge if model not in fit]


def weight_table(models: list[dict[str, Any]]) -> dict[str, float]:
    """Median of log(KL / relative error^2) by role; "" is that of all layers."""
    found: dict[str, list[float]] = {}
    for model in models:
        for kind in FORMATS:
            truth, error = damage(model, kind), predicted(model, "weight relative error", kind)
            for layer in model["layers"]:
                name = layer["name"]
                if truth[name] > LEAST_KL and error[name] > 0:
                    constant = float(np.log(truth[name] / error[name] ** 2))
                    found.setdefault(layer["role"], []).append(constant)
                    found.setdefault("", []).append(constant)
    return {role: float(np.median(values)) for role, values in found.items() if len(values) >= 30}


def risks(model: dict[str, Any], tier: str, kind: str, table: dict[str, float]) -> dict[str, float]:
    """What `rate` would say in this tier."""
    if tier != "weights only":
        return predicted(model, SCORES[tier], kind)
    error = predicted(model, "weight relative error", kind)
    return {
        layer["name"]: float(np.exp(table.get(layer["role"], table[""])) * error[layer["name"]] ** 2)
        for layer in model["layers"]
    }


def samples(models: list[dict[str, Any]], tier: str, table: dict[str, float]) -> np.ndarray[Any, Any]:
    """Rows of (distance from the border, in the true worst tenth, log(measured / predicted))."""
    rows = []
    for model in models:
        for kind in FORMATS:
            risk, truth = risks(model, tier, kind, table), damage(model, kind)
            border, worst = np.log(border_of_worst(np.array(list(risk.values())))), top_decile(truth)
            for name, value in risk.items():
                safe = max(value, np.finfo(float).tiny)
                off = np.log(truth[name] / safe) if truth[name] > LEAST_KL else np.nan
                rows.append((np.log(safe) - border, float(name in worst), off))
    return np.array(rows)


def logistic(rows: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Intercept and slope of the largest likelihood."""

    def loss(at: np.ndarray[Any, Any]) -> float:
        logit = at[0] + at[1] * rows[:, 0]
        return float((np.logaddexp(0, logit) - rows[:, 1] * logit).mean())

    found = minimize(loss, np.array([0.0, 2.0]), method="Nelder-Mead").x
    return float(found[0]), float(found[1])


def main() -> None:
    """Fit, judge, print, write."""
    source, target = map(Path, sys.argv[1:] or (ROWS, CALIBRATION))
    fit, judge = split(loaded(source))
    table = weight_table(fit)
    tiers = {}
    for tier in ("weights only", *SCORES):
        known, unseen = samples(fit, tier, table), samples(judge, tier, table)
        intercept, slope = logistic(known)
        chance = 1 / (1 + np.exp(-(intercept + slope * unseen[:, 0])))
        c, a = chance >= LIKELY, chance <= UNLIKELY
        off = unseen[:, 2][np.isfinite(unseen[:, 2])]
        base = unseen[:, 1].mean()
        low, high = np.nanquantile(known[:, 2], [0.025, 0.975])
        tiers[tier] = {
            "intercept": intercept,
            "slope": slope,
            "log_bias": float(np.median(off)),
            "log_deviation": float(1.4826 * np.median(np.abs(off - np.median(off)))),
            "log_low": float(low),
            "log_high": float(high),
            "coverage": float(((off >= low) & (off <= high)).mean()),
            "brier": float(((chance - unseen[:, 1]) ** 2).mean()),
            "brier_of_base_rate": float(base * (1 - base)),
            "share_in_c": float(unseen[c, 1].mean()) if c.any() else 0.0,
            "share_in_a": float(unseen[a, 1].mean()) if a.any() else 0.0,
            "layers_in_c": int(c.sum()),
            "layers_in_a": int(a.sum()),
            "layers_judged": len(unseen),
            "models_fitted": len(fit),
            "models_judged": len(judge),
        }
        print(tier, json.dumps(tiers[tier]))
    absolute = _absolute(judge)
    print("grades by risk:", json.dumps(absolute))
    result = {
        "fitted_on": [model["model"] for model in fit],
        "judged_on": [model["model"] for model in judge],
        "formats": list(FORMATS),
        "weights_by_role": table,
        "tiers": tiers,
        "grades_by_risk": absolute,
    }
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _absolute(models: list[dict[str, Any]]) -> dict[str, Any]:
    """Grades by risk at their default limits, against the same limits of the measured damage."""
    from quant_risk_analyzer.ratings import Thresholds

    limits = Thresholds()
    found = {}
    for tier, score in SCORES.items():
        pairs = np.array(
            [
                (risk, damage(model, kind)[name])
                for model in models
                for kind in FORMATS
                for name, risk in predicted(model, score, kind).items()
            ]
        )
        given, true = (np.array([limits.grade(value) for value in column]) for column in pairs.T)
        found[tier] = {
            f"{grade}, truly {truth}": int(((given == grade) & (true == truth)).sum())
            for grade in "ABC"
            for truth in "ABC"
        }
    return found


if __name__ == "__main__":
    main()
