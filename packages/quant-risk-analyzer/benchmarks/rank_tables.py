"""The tables of the study: every score's rank agreement with the measured damage, over models and formats.

Run: python rank_tables.py [ROWS RESULT.json]
     (by default from results/rank_rows.csv to results/rank_study.json; ROWS may be the folder that
     rank_study.py filled; after calibrate.py, whose constants the tier of the weights alone takes)

For each score, format and group of models: the mean over the models of Spearman's rho over all layers, within
roles, and of the recall of the worst tenth, with a 95 % interval by drawing models anew; of one model alone,
by drawing its layers anew within each role.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rank_rows import ROWS, WITHOUT_DATA, loaded
from scipy.stats import rankdata

from quant_risk_analyzer.agreement import rank_agreement
from quant_risk_analyzer.confidence import place_factors
from quant_risk_analyzer.weights_only import weight_risk

DRAWS = 4000
LAYER_DRAWS = 1000
ROLE_TABLE = "role names (perfect table)"
WEIGHTS = "weights only"
AS_SAMPLED = ", as sampled"  # without the factors for the places


def learned(model: dict[str, Any]) -> bool:
    """Not one of the controls, whose weights are the random first ones."""
    return (model.get("recipe") or {}).get("steps", 1) > 0


def damage(model: dict[str, Any], kind: str) -> dict[str, float]:
    """Measured KL by layer, nats per token."""
    return {layer["name"]: layer["kl"][kind] for layer in model["layers"]}


def sampled(model: dict[str, Any], score: str, kind: str) -> dict[str, float]:
    """A score of the study as it was sampled, by layer."""
    return {layer["name"]: layer["scores"][score][kind] for layer in model["layers"]}


def predicted(model: dict[str, Any], score: str, kind: str) -> dict[str, float]:
    """What a score says by layer: without data with the factors for the places, as `rate` has them.

    The perfect table of role names knows the mean damage of each role.
    """
    if score == ROLE_TABLE:
        by_role: dict[str, list[float]] = {}
        for layer in model["layers"]:
            by_role.setdefault(layer["role"], []).append(layer["kl"][kind])
        return {layer["name"]: float(np.mean(by_role[layer["role"]])) for layer in model["layers"]}
    if score == WEIGHTS:
        errors = predicted(model, "weight relative error", kind)
        return {layer["name"]: weight_risk(errors[layer["name"]], layer["role"]) for layer in model["layers"]}
    found = sampled(model, score.removesuffix(AS_SAMPLED), kind)
    tier = score.partition(",")[0]
    if tier not in WITHOUT_DATA or score.endswith(AS_SAMPLED):
        return found
    factors = place_factors(list(found), tier)
    return {name: factors[name] * value for name, value in found.items()}


def agreements(models: list[dict[str, Any]], score: str, kind: str) -> dict[str, list[float]]:
    """Overall, within-role and recall of each model."""
    found: dict[str, list[float]] = {"overall": [], "within role": [], "worst tenth found": []}
    for model in models:
        roles = {layer["name"]: layer["role"] for layer in model["layers"]}
        each = rank_agreement(predicted(model, score, kind), damage(model, kind), roles)
        found["overall"].append(each.overall)
        found["within role"].append(each.within_role)
        found["worst tenth found"].append(each.top_decile_recall)
    return found


def interval(values: list[float]) -> dict[str, float]:
    """Mean over the models, its 95 % interval, and the least."""
    data = np.array(values)
    data = data[np.isfinite(data)]
    if not len(data):
        return {"mean": float("nan"), "low": float("nan"), "high": float("nan"), "least": float("nan")}
    generator = np.random.default_rng(0)
    means = data[generator.integers(0, len(data), (DRAWS, len(data)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return {
        "models": len(data),
        "mean": float(data.mean()),
        "low": float(low),
        "high": float(high),
        "least": float(data.min()),
    }


def layers_drawn(model: dict[str, Any], score: str, kind: str) -> dict[str, dict[str, float]]:
    """The figures of one model with their 95 % intervals, by drawing its layers anew within each role."""
    values, truth = predicted(model, score, kind), damage(model, kind)
    roles = {layer["name"]: layer["role"] for layer in model["layers"]}
    found = rank_agreement(values, truth, roles)
    x, y = (np.array([side[name] for name in roles]) for side in (values, truth))
    groups = [
        np.flatnonzero(np.array(list(roles.values())) == role) for role in dict.fromkeys(roles.values())
    ]
    generator = np.random.default_rng(0)
    parts = [group[generator.integers(0, len(group), (LAYER_DRAWS, len(group)))] for group in groups]
    drawn = np.concatenate(parts, 1)
    worst = max(1, round(len(x) / 10))
    tops = [np.argsort(-side[drawn], 1)[:, :worst] for side in (x, y)]
    draws = {
        "overall": _rho(x[drawn], y[drawn]),
        "within role": np.nanmean([_rho(x[part], y[part]) for part in parts if part.shape[1] >= 3], 0)
        if any(part.shape[1] >= 3 for part in parts)
        else np.full(LAYER_DRAWS, np.nan),
        "worst tenth found": (tops[0][:, :, None] == tops[1][:, None, :]).any(2).mean(1),
    }
    means = (found.overall, found.within_role, found.top_decile_recall)
    answer = {}
    for (figure, each), mean in zip(draws.items(), means, strict=True):
        known = each[np.isfinite(each)]
        low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
        answer[figure] = {"mean": mean, "low": float(low), "high": float(high), "least": mean}
    return answer


def _rho(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Spearman's rho of each row; NaN where one side is constant."""
    a, b = (rankdata(side, axis=1) for side in (x, y))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        rho: np.ndarray[Any, Any] = (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return rho


def figures(models: list[dict[str, Any]], score: str, kind: str) -> dict[str, dict[str, float]]:
    """Overall, within-role and recall of a group, each with its interval."""
    if len(models) == 1:
        return layers_drawn(models[0], score, kind)
    return {name: interval(values) for name, values in agreements(models, score, kind).items()}


def having(models: list[dict[str, Any]], score: str) -> list[dict[str, Any]]:
    """The models that have a score; what is computed from others all have."""
    name = score.removesuffix(AS_SAMPLED)
    if name in (WEIGHTS, ROLE_TABLE):
        return models
    return [model for model in models if name in model["layers"][0]["scores"]]


def border_gap(model: dict[str, Any], kind: str) -> float:
    """By how much the last layer of the truly worst tenth is worse than the next one, a fraction."""
    ordered = sorted(damage(model, kind).values(), reverse=True)
    worst = max(1, round(len(ordered) / 10))
    return ordered[worst - 1] / ordered[worst] - 1


def groups(models: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The zoo together, and each other model alone."""
    found = {"zoo": [model for model in models if model.get("recipe") and learned(model)]}
    return {**found, **{model["model"]: [model] for model in models if not model.get("recipe")}}


def tables(models: list[dict[str, Any]]) -> dict[str, Any]:
    """Group, format, score, figure."""
    found: dict[str, Any] = {}
    for group, members in groups(models).items():
        if not members:
            continue
        every = dict.fromkeys(name for model in members for name in model["layers"][0]["scores"])
        scores = [*every, *(each + AS_SAMPLED for each in WITHOUT_DATA if each in every)]
        scores += [WEIGHTS, ROLE_TABLE]
        found[group] = {
            kind: {score: figures(having(members, score), score, kind) for score in scores}
            for kind in members[0]["formats"]
        }
    return found


def main() -> None:
    """Read, summarise, print, write."""
    source, target = map(Path, sys.argv[1:] or (ROWS, ROWS.with_name("rank_study.json")))
    models = loaded(source)
    found = tables(models)
    for group, kinds in found.items():
        for kind, scores in kinds.items():
            print(f"\n{group}, {kind}: overall / within role / worst tenth found (least of the models)")
            ordered = sorted(
                scores, key=lambda score: -np.nan_to_num(scores[score]["within role"]["mean"], nan=-2)
            )
            for score in ordered:
                cells = [
                    f"{each['mean']:5.2f} [{each['low']:.2f}, {each['high']:.2f}] ({each['least']:.2f})"
                    for each in scores[score].values()
                ]
                print(f"  {score:48s} {'   '.join(cells)}")
    first = next(model for model in models if model.get("recipe"))
    about = {key: first[key] for key in ("device", "torch", "date")}
    listed = [
        {
            "model": model["model"],
            "layers": len(model["layers"]),
            "loss": model["loss"],
            "training_loss": model.get("training_loss"),
            "recipe": model.get("recipe"),
            "tokens": model["tokens"],
            "device": model["device"],
            "border_gap": {kind: border_gap(model, kind) for kind in model["formats"]},
        }
        for model in models
    ]
    command = "rank_study.py, rank_rows.py, rank_tables.py"
    result = {**about, "command": command, "models": listed, "tables": found}
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
