"""Calibrates what `rate` says of its confidence, from the measurements of rank_study.py.

Run: python calibrate.py [ROWS OUTPUT.json]
     (by default from results/rank_rows.csv to src/quant_risk_analyzer/calibration.json)

Half of the zoo's families fit, the other half judges, and so do the models that the study did not train.
For each tier: the logistic curve from the risk to the chance of being in the worst tenth, its Brier score and
the shares of true ones among C and A; bias and spread of log(measured / predicted), of layers and of sums;
for the weights alone a constant for each role, and without data a line over the places of the layers.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rank_rows import ROWS, WITHOUT_DATA, loaded
from rank_tables import WEIGHTS, damage, having, learned, sampled
from scipy.optimize import minimize

from quant_risk_analyzer.agreement import top_decile
from quant_risk_analyzer.confidence import border_of_worst
from quant_risk_analyzer.roles import places

CALIBRATION = Path(__file__).parents[1] / "src" / "quant_risk_analyzer" / "calibration.json"
SCORES = {"random tokens": "random tokens", "own samples": "own samples", "calibration text": "text"}
FORMATS = ("int4", "int3", "fp8_e4m3")
LEAST_KL = 1e-9  # nats per token: below, float32 has no digits left
UNLIKELY, LIKELY = 0.02, 0.5
SUM_DEVIATIONS = 2.2  # of Student's distribution at 95 %, ten degrees of freedom: a model is one draw


def split(models: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(fit, judge): every other family and the reference model fit; the others judge."""
    families = list(
        dict.fromkeys(model["family"] for model in models if model.get("recipe") and learned(model))
    )
    fitting = set(families[::2])
    models = [model for model in models if model["loss"] is not None]  # no encoders
    fit = [model for model in models if model.get("recipe") and learned(model) and model["family"] in fitting]
    judge = [model for model in models if learned(model) and model not in fit]
    # One model that learned for longer: its layers are further from the estimates than the zoo's.
    fit += [model for model in models if model["model"] == "reference"]
    return fit, [model for model in judge if model not in fit]


def weight_table(models: list[dict[str, Any]]) -> dict[str, float]:
    """Median of log(KL / relative error^2) by role, "" is that of all layers; all raised to a common level.

    The same error costs far more in a model that learned for long, as those do that users rate, than in the
    zoo: the level makes the sum right for the models that the study did not train itself.
    """
    found: dict[str, list[float]] = {}
    for model in models:
        for kind in FORMATS:
            truth, error = damage(model, kind), sampled(model, "weight relative error", kind)
            for layer in model["layers"]:
                name = layer["name"]
                if truth[name] > LEAST_KL and error[name] > 0:
                    constant = float(np.log(truth[name] / error[name] ** 2))
                    found.setdefault(layer["role"], []).append(constant)
                    found.setdefault("", []).append(constant)
    medians = {role: float(np.median(values)) for role, values in found.items() if len(values) >= 30}
    long = [model for model in models if not model.get("recipe")]
    level = float(totals(long, "weights only", Constants(medians, {})).mean())
    return {role: median + level for role, median in medians.items()}


def place_lines(models: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Intercept and slope of log(measured / sampled) over the place of a layer, for each tier without data.

    Fitted on the zoo alone: every other model judges.
    """
    zoo = [model for model in models if model.get("recipe")]
    return {tier: _line(having(zoo, tier), tier) for tier in WITHOUT_DATA}


def _line(models: list[dict[str, Any]], score: str) -> tuple[float, float]:
    at, off = [], []
    for model in models:
        for kind in FORMATS:
            truth, found = damage(model, kind), sampled(model, score, kind)
            for place, name in zip(places(list(found)), found, strict=True):
                if truth[name] > LEAST_KL and found[name] > 0:
                    at.append(place)
                    off.append(np.log(truth[name] / found[name]))
    slope, intercept = np.polyfit(at, off, 1)
    return float(intercept), float(slope)


@dataclass(frozen=True)
class Constants:
    """What the tiers' risks need: the costs of the roles, and the lines over the places."""

    table: dict[str, float]
    places: dict[str, tuple[float, float]]


def risks(model: dict[str, Any], tier: str, kind: str, known: Constants) -> dict[str, float]:
    """What `rate` would say in this tier."""
    if tier != "weights only":
        found, (intercept, slope) = sampled(model, SCORES[tier], kind), known.places.get(tier, (0.0, 0.0))
        factors = np.exp(intercept + slope * np.array(places(list(found))))
        return {name: float(factor * found[name]) for name, factor in zip(found, factors, strict=True)}
    table = known.table
    error = sampled(model, "weight relative error", kind)
    return {
        layer["name"]: float(np.exp(table.get(layer["role"], table[""])) * error[layer["name"]] ** 2)
        for layer in model["layers"]
    }


def samples(models: list[dict[str, Any]], tier: str, known: Constants) -> np.ndarray[Any, Any]:
    """Rows of (distance from the border, in the true worst tenth, log(measured / predicted))."""
    rows = []
    for model in models:
        for kind in FORMATS:
            risk, truth = risks(model, tier, kind, known), damage(model, kind)
            border, worst = np.log(border_of_worst(np.array(list(risk.values())))), top_decile(truth)
            for name, value in risk.items():
                safe = max(value, np.finfo(float).tiny)
                off = np.log(truth[name] / safe) if truth[name] > LEAST_KL else np.nan
                rows.append((np.log(safe) - border, float(name in worst), off))
    return np.array(rows)


def totals(models: list[dict[str, Any]], tier: str, known: Constants) -> np.ndarray[Any, Any]:
    """Logarithm of the summed damage over the summed risk, one for each model and format."""
    found = []
    for model in models:
        for kind in FORMATS:
            risk, truth = risks(model, tier, kind, known), damage(model, kind)
            found.append(np.log(sum(truth.values()) / sum(risk.values())))
    return np.array(found)


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
    halves = fit, judge = split(loaded(source))
    constants = Constants(weight_table(fit), place_lines(fit))
    tiers = {}
    for tier in ("weights only", *SCORES):
        fit, judge = (having(models, SCORES.get(tier, WEIGHTS)) for models in halves)
        known, unseen = samples(fit, tier, constants), samples(judge, tier, constants)
        intercept, slope = logistic(known)
        chance = 1 / (1 + np.exp(-(intercept + slope * unseen[:, 0])))
        c, a = chance >= LIKELY, chance <= UNLIKELY
        off = unseen[:, 2][np.isfinite(unseen[:, 2])]
        base = unseen[:, 1].mean()
        sums, unseen_sums = totals(fit, tier, constants), totals(judge, tier, constants)
        reach = SUM_DEVIATIONS * sums.std(ddof=1)
        centre, away = sums.mean(), 0.0
        if tier == "weights only":  # its level is that of long training: the zoo says how layers differ only
            centre, away = 0.0, float(np.nanmedian(known[:, 2]))
        sum_low, sum_high = float(centre - reach), float(centre + reach)
        low, high = np.nanquantile(known[:, 2] - away, [0.025, 0.975])
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
            "sum_log_low": sum_low,
            "sum_log_high": sum_high,
            "sum_coverage": float(((unseen_sums >= sum_low) & (unseen_sums <= sum_high)).mean()),
            **dict(
                zip(("place_intercept", "place_slope"), constants.places.get(tier, (0.0, 0.0)), strict=True)
            ),
            "models_fitted": len(fit),
            "models_judged": len(judge),
        }
        print(tier, json.dumps(tiers[tier]))
    fit, judge = halves
    absolute = _absolute(judge, constants)
    print("grades by risk:", json.dumps(absolute))
    result = {
        "fitted_on": [model["model"] for model in fit],
        "judged_on": [model["model"] for model in judge],
        "formats": list(FORMATS),
        "weights_by_role": constants.table,
        "tiers": tiers,
        "grades_by_risk": absolute,
    }
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _absolute(models: list[dict[str, Any]], known: Constants) -> dict[str, Any]:
    """Grades by risk at their default limits, against the same limits of the measured damage."""
    from quant_risk_analyzer.ratings import Thresholds

    limits = Thresholds()
    found = {}
    for tier in SCORES:
        pairs = np.array(
            [
                (risk, damage(model, kind)[name])
                for model in having(models, SCORES[tier])
                for kind in FORMATS
                for name, risk in risks(model, tier, kind, known).items()
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
